"""With another tenant's key, everything that is yours is not there: on every route there is.

Routes are taken from the application itself. One that names a thing in its path by a parameter not
known here fails the test, so that no new route is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from api_calls import create_job, error_of, upload
from factories import make_worker
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
from pando_shared.records import CheckpointRecord, ModelRecord
from pando_shared.store import Change
from pando_shared.store.stub import StubStore
from pando_shared.webhooks import EVENT_TYPES

#: What has no owner: it is the site's, and every tenant may see it.
OF_ALL = {
    "/v1/workers",
    "/v1/queue",
    "/v1/webhook_event_types",
    "/healthz",
    "/readyz",
    "/metrics",
    "/metrics/workers",
}
#: What only keys of scope admin open, whatever it names: see test_keys.py.
OF_ADMINS = "/v1/keys"
ADAPTER = "ft:tiny:acme:mine:abc"


@pytest.fixture
def mine(client: TestClient, store: StubStore, clock: FakeClock) -> Mapping[str, str]:
    """One of everything, acme's, by the name that paths have for it."""
    store.put_worker(make_worker(budget_bytes=1 << 40, heartbeat_at=clock.now()))
    file_id = upload(client)["id"]
    job_id = create_job(client, training_file=file_id)["id"]
    model = ModelRecord(ADAPTER, "acme", "tiny", job_id, "lora", f"jobs/{job_id}/export", 0.0)
    checkpoint = CheckpointRecord("ftckpt-1", job_id, ADAPTER, 1, 0.0)
    store.update_job(job_id, lambda job: Change(job, (), model, checkpoint))
    parts = {"bytes": 9, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"}
    trials = {"model": "tiny", "training_file": file_id, "validation_file": file_id}
    grid = {"grid": {"learning_rate": [1e-4, 1e-3]}}
    hook = {"name": "n", "url": "https://example.com", "event_types": list(EVENT_TYPES)}

    def made(path: str, body: Mapping[str, Any]) -> str:
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    return {
        "file_id": file_id,
        "job_id": job_id,
        "model": ADAPTER,
        "upload_id": made("/v1/uploads", parts),
        "sweep_id": made("/v1/fine_tuning/sweeps", trials | grid),
        "webhook_id": made("/v1/webhook_endpoints", hook),
    }


def operations(app: FastAPI) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def request(client: TestClient, method: str, path: str, operation: Mapping[str, Any]) -> Any:
    """A request that nothing but its owner keeps from succeeding."""
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        return client.request(method, path, files={"data": ("part", b"123456789")})
    bodies: Mapping[str, Mapping[str, Any]] = {
        "complete": {"part_ids": []},
        "test": {"event_type": EVENT_TYPES[0]},
    }
    body = bodies.get(path.rpartition("/")[2], {})
    return client.request(method, path, json=body if content else None)


def test_every_route_that_names_a_thing_denies_it_to_others(
    app: FastAPI, stranger: TestClient, client: TestClient, mine: Mapping[str, str]
) -> None:
    seen = 0
    for method, template, operation in operations(app):
        names = re.findall(r"\{(\w+)\}", template)
        if not names or template.startswith(OF_ADMINS):
            continue
        path = template.format(**{name: mine[name] for name in names})
        message = error_of(request(stranger, method, path, operation), 404)["message"]
        nobodys = path.replace(mine[names[0]], f"{names[0]}-nobodys")
        unknown = error_of(request(stranger, method, nobodys, operation), 404)["message"]
        # Word for word as for what there is not: else one could find out what others have.
        assert message == unknown.replace(f"{names[0]}-nobodys", mine[names[0]]), path
        seen += 1
    assert seen >= 20
    # Nothing of it has changed either.
    assert client.get(f"/v1/files/{mine['file_id']}").status_code == 200
    assert client.get(f"/v1/models/{mine['model']}").status_code == 200
    job = client.get(f"/v1/fine_tuning/jobs/{mine['job_id']}").json()
    assert job["status"] == "validating_files"


def test_no_list_tells_of_what_others_have(
    app: FastAPI, stranger: TestClient, mine: Mapping[str, str]
) -> None:
    lists = 0
    for method, path, _ in operations(app):
        if method == "GET" and "{" not in path and path not in OF_ALL:
            text = stranger.get(path).text
            assert not [name for name in mine.values() if name in text], path
            lists += 1
    assert lists >= 5


def test_usage_is_ones_own(stranger: TestClient, mine: Mapping[str, str]) -> None:
    own = stranger.get("/v1/usage").json()
    assert own["tenant"] == "globex"
    assert own["storage"]["used"] == own["jobs"]["validating_files"] == 0
    assert error_of(stranger.get("/v1/usage/tenants"), 403)["code"] == "insufficient_scope"


def test_what_is_the_sites_names_nobodys_things(
    stranger: TestClient, mine: Mapping[str, str]
) -> None:
    for path in sorted(OF_ALL):
        text = stranger.get(path).text
        assert not [name for name in mine.values() if name in text], path
        assert "acme" not in text, path


@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/v1/fine_tuning/estimate"])
@pytest.mark.parametrize("field", ["training_file", "validation_file"])
def test_nobody_trains_on_anothers_file(
    stranger: TestClient, mine: Mapping[str, str], path: str, field: str
) -> None:
    own = upload(stranger)["id"]
    body = {"model": "tiny", "training_file": own, field: mine["file_id"]}
    assert mine["file_id"] in error_of(stranger.post(path, json=body), 404)["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_nobody_talks_to_anothers_adapter(
    stranger: TestClient, mine: Mapping[str, str], path: str, body: dict[str, Any]
) -> None:
    error_of(stranger.post(path, json=body | {"model": mine["model"]}), 404)


@pytest.mark.parametrize(
    "path", ["/v1/fine_tuning/jobs", "/v1/files", "/v1/fine_tuning/sweeps", "/v1/webhook_endpoints"]
)
def test_a_cursor_does_not_tell_whether_another_has_it(
    stranger: TestClient, mine: Mapping[str, str], path: str
) -> None:
    for name in mine.values():
        theirs = stranger.get(path, params={"after": name})
        nobodys = stranger.get(path, params={"after": "nobodys"})
        assert theirs.status_code == nobodys.status_code
        assert theirs.text.replace(name, "nobodys") == nobodys.text
