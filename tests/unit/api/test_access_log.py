"""One line a request, with whom and what it was about, and nothing secret or forged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from api_calls import error_of
from factories import make_job
from fastapi import FastAPI
from log_lines import Lines, json_log
from starlette.testclient import TestClient

from pando_shared.store.stub import StubStore


@pytest.fixture
def lines() -> Iterator[Lines]:
    with json_log("api", "pando_api") as found:
        yield found


def test_a_request_is_one_line_without_its_query(client: TestClient, lines: Lines) -> None:
    answer = client.get("/v1/models?limit=hunter2", headers={"x-request-id": "trace-1"})
    (line,) = lines()
    milliseconds = line.pop("milliseconds")
    assert 0 <= milliseconds < 60_000
    assert line.pop("message") == f"GET /v1/models 200 in {milliseconds:.1f} ms"
    assert answer.headers["x-request-id"] == "trace-1"
    line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "pando_api.middleware",
        "service": "api",
        "request_id": "trace-1",
        "tenant": "acme",
        "method": "GET",
        "path": "/v1/models",
        "status": 200,
    }


def test_the_job_of_a_request_is_named(client: TestClient, store: StubStore, lines: Lines) -> None:
    job = store.create_job(make_job(tenant="acme"))
    client.get(f"/v1/fine_tuning/jobs/{job.id}")
    assert lines()[-1]["job_id"] == job.id


def test_a_new_job_is_named(client: TestClient, lines: Lines) -> None:
    file = client.post(
        "/v1/files",
        files={"file": ("a.jsonl", b'{"text": "a"}\n')},
        data={"purpose": "fine-tune"},
    ).json()
    created = client.post(
        "/v1/fine_tuning/jobs", json={"model": "tiny", "training_file": file["id"]}
    ).json()
    assert lines()[-1]["job_id"] == created["id"]


def test_anothers_job_is_not_named(stranger: TestClient, store: StubStore, lines: Lines) -> None:
    job = store.create_job(make_job(tenant="acme"))
    error_of(stranger.get(f"/v1/fine_tuning/jobs/{job.id}"), 404)
    line = lines()[-1]
    assert (line["status"], line["tenant"]) == (404, "globex")
    assert "job_id" not in line


def test_a_request_without_a_key_has_no_tenant(app: FastAPI, lines: Lines) -> None:
    TestClient(app).get("/v1/models", headers={"Authorization": "Bearer sk-pando-hunter2"})
    (line,) = lines()
    assert line["status"] == 401
    assert "tenant" not in line


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_logged_at_debug_only_while_all_is_well(
    client: TestClient, store: StubStore, lines: Lines, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client.get(path)
    assert [line["level"] for line in lines()] == ["DEBUG"]
    monkeypatch.setattr(store, "ping", lambda: False)
    client.get("/readyz")
    assert (lines()[-1]["level"], lines()[-1]["status"]) == ("INFO", 503)


def test_a_path_starts_no_line_and_shows_no_key(client: TestClient, lines: Lines) -> None:
    client.get("/v1/files/x%0d%0a%7b%22level%22:%22ERROR%22%7d%e2%80%a8sk-pando-hunter2hunter2")
    (line,) = lines()
    assert line["path"] == '/v1/files/x\r\n{"level":"ERROR"}\u2028sk-pando-***'
    assert "hunter2" not in json.dumps(line)


def test_a_file_name_starts_no_line(client: TestClient, lines: Lines) -> None:
    name = 'a%0d%0a2026 ERROR"; x=".jsonl'
    client.post("/v1/files", files={"file": (name, b"{}\n")}, data={"purpose": "fine-tune"})
    assert [line["path"] for line in lines()] == ["/v1/files"]


def test_a_fault_of_ours_is_told_whole_under_the_requests_id(
    client: TestClient, store: StubStore, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tenant: str) -> None:
        raise RuntimeError("no\nconnection to redis://:hunter2@redis")

    monkeypatch.setattr(store, "list_models", broken)
    answer = client.get("/v1/models")
    fault, access = lines()
    assert fault["level"] == "ERROR"
    assert fault["request_id"] == access["request_id"] == answer.headers["x-request-id"]
    assert fault["tenant"] == "acme"
    assert fault["exception"].endswith("RuntimeError: no\nconnection to redis://:***@redis\n")
    assert access["status"] == 500
