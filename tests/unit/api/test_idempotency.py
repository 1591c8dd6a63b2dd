"""`Idempotency-Key` of files and uploads: sent again, they are made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_calls import error_of
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore

FILES, UPLOADS = "/v1/files", "/v1/uploads"
CONTENT = b"x" * 600
BODY = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": 600}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Room for one file, not for two."""
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\nmax_storage = 1000\n")
    return settings.model_copy(update={"policy_file": path})


def send(
    client: TestClient, content: bytes = CONTENT, name: str = "a.jsonl", key: str = "once"
) -> httpx.Response:
    form = {"file": (name, content)}
    headers = {"Idempotency-Key": key}
    return client.post(FILES, data={"purpose": "fine-tune"}, files=form, headers=headers)


def begin(client: TestClient, key: str = "once", **changes: Any) -> httpx.Response:
    return client.post(UPLOADS, json=BODY | changes, headers={"Idempotency-Key": key})


def test_a_file_that_is_sent_again_is_there_once(
    client: TestClient, storage: Storage, store: StubStore, clock: FakeClock
) -> None:
    """Though it would have no room for a second time."""
    first = send(client)
    clock.advance(100)
    again = send(client)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert client.get(FILES).json()["data"] == [first.json()]
    assert storage.names("files") == [first.json()["id"]]
    assert store.stored_bytes("acme", clock.now()).total == 600
    assert client.get(f"{FILES}/{first.json()['id']}/content").content == CONTENT


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"y" * 600, "a.jsonl"), (b"x" * 599, "a.jsonl"), (CONTENT, "b.jsonl")],
    ids=["content", "size", "name"],
)
def test_one_key_for_two_files_is_an_error(
    client: TestClient, storage: Storage, content: bytes, name: str
) -> None:
    made = send(client).json()["id"]
    error = error_of(send(client, content, name), 400)
    assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
    assert made in error["message"]
    assert storage.names("files") == [made]


def test_a_key_whose_file_was_refused_or_deleted_is_free(client: TestClient) -> None:
    assert send(client, b"").status_code == 400
    assert send(client, b"x" * 1001).status_code == 429
    made = send(client).json()["id"]
    client.delete(f"{FILES}/{made}")
    assert send(client, b"y" * 10).json()["bytes"] == 10


def test_tenants_and_keys_are_told_apart(client: TestClient, stranger: TestClient) -> None:
    made = {
        send(client, b"x", key="one").json()["id"],
        send(client, b"x", key="two").json()["id"],
        send(stranger, b"x", key="one").json()["id"],
    }
    assert len(made) == 3


@pytest.mark.parametrize("other", [b"x", b"y"], ids=["same", "another"])
def test_two_files_with_one_key_at_once(
    client: TestClient, storage: Storage, store: StubStore, clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch, other: bytes,
) -> None:  # fmt: skip
    """Both are in storage before either is known to the store."""
    together = threading.Barrier(2)
    create = store.create_file

    def slow(record: Any, key: str) -> Any:
        together.wait(timeout=10)
        return create(record, key)

    monkeypatch.setattr(store, "create_file", slow)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda byte: send(client, byte * 300), (b"x", other)))
    (kept,) = client.get(FILES).json()["data"]
    assert storage.names("files") == [kept["id"]]
    assert store.stored_bytes("acme", clock.now()).total == 300
    if other == b"x":
        assert [answer.json() for answer in answers] == [kept, kept]
    else:
        (refused,) = [answer for answer in answers if answer.status_code != 200]
        assert error_of(refused, 400)["code"] == "idempotency_key_reused"


def test_an_upload_that_is_begun_again_is_the_same_with_its_parts(client: TestClient) -> None:
    first = begin(client).json()
    part = {"data": ("part", CONTENT)}
    sent = client.post(f"{UPLOADS}/{first['id']}/parts", files=part).json()["id"]
    # The upload's own parts leave no room for another, which is not asked for.
    assert begin(client).json() == first
    done = client.post(f"{UPLOADS}/{first['id']}/complete", json={"part_ids": [sent]}).json()
    assert begin(client).json() == done
    assert done["status"] == "completed"


def test_one_key_for_two_uploads_is_an_error(client: TestClient) -> None:
    made = begin(client).json()["id"]
    for changes in ({"bytes": 601}, {"filename": "b.jsonl"}):
        error = error_of(begin(client, **changes), 400)
        assert error["code"] == "idempotency_key_reused"
        assert made in error["message"]
    assert begin(client, key="other").json()["id"] != made


def test_a_key_may_be_no_longer_than_255_characters(client: TestClient) -> None:
    for answer in (send(client, key="k" * 256), begin(client, key="k" * 256)):
        error = error_of(answer, 400)
        assert error["param"] == "idempotency-key"
        assert "at most 255 characters" in error["message"]
