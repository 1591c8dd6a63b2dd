"""`max_storage`: what a tenant keeps is counted, and what would exceed it is refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import httpx
import openai
import pytest
from api_calls import create_job, error_of, upload
from starlette.testclient import TestClient

from pando_api.storage_quota import HOLD_SECONDS
from pando_shared.clock import FakeClock
from pando_shared.codec import encode
from pando_shared.errors import Unavailable
from pando_shared.records import ModelRecord
from pando_shared.recovery import recover
from pando_shared.settings import MIB, Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore
from pando_shared.stored_bytes import StoredBytes

FILES, UPLOADS, JOBS = "/v1/files", "/v1/uploads", "/v1/fine_tuning/jobs"
ADAPTER = ModelRecord("ft:tiny:acme::1", "acme", "tiny", "ftjob-1", "lora", "p", 1.0, bytes=1000)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text('[tenants.acme]\nmax_storage = "1000 B"\n')
    return path


@pytest.fixture
def settings(settings: Settings, policy: Path) -> Settings:
    return settings.model_copy(update={"policy_file": policy})


def post(client: TestClient, size: int) -> httpx.Response:
    form = {"file": ("a.jsonl", b"x" * size)}
    return client.post(FILES, data={"purpose": "fine-tune"}, files=form)


def post_in_chunks(client: TestClient, size: int) -> httpx.Response:
    """A body that announces no length."""

    def body() -> Iterator[bytes]:
        disposition = b"Content-Disposition: form-data;"
        yield b'--b\r\n%s name="purpose"\r\n\r\nfine-tune\r\n' % disposition
        yield b'--b\r\n%s name="file"; filename="a.jsonl"\r\n\r\n' % disposition
        for start in range(0, size, 100):
            yield b"x" * min(100, size - start)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post(FILES, content=body(), headers=headers)


def begin(client: TestClient, size: int) -> str:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": size}
    answer = client.post(UPLOADS, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def send(client: TestClient, upload_id: str, size: int) -> httpx.Response:
    form = {"data": ("part", b"x" * size)}
    return client.post(f"{UPLOADS}/{upload_id}/parts", files=form)


def kept(store: StubStore, clock: FakeClock) -> StoredBytes:
    return store.stored_bytes("acme", clock.now())


def test_a_file_too_many_is_refused_and_what_helps_is_said(
    client: TestClient, storage: Storage, store: StubStore, clock: FakeClock
) -> None:
    assert post(client, 600).status_code == 200
    answer = post(client, 401)
    error = error_of(answer, 429)
    assert (error["code"], error["type"]) == ("storage_quota_exceeded", "insufficient_quota")
    assert error["message"] == (
        "tenant acme keeps 600 B (600 B of files) and may keep 1000 B, which this would exceed; "
        "delete files or adapters you no longer need, cancel uploads, or ask the operator for a "
        "higher max_storage"
    )
    assert answer.headers["x-should-retry"] == "false"
    assert len(storage.names("files")) == 1
    assert kept(store, clock) == StoredBytes(files=600)
    assert post(client, 400).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 429)])
def test_a_body_of_unknown_length_is_held_to_it_too(
    client: TestClient, storage: Storage, store: StubStore, clock: FakeClock, size: int, status: int
) -> None:
    assert post_in_chunks(client, size).status_code == status
    assert len(storage.names("files")) == (status == 200)
    assert kept(store, clock).total == (1000 if status == 200 else 0)


def test_a_long_body_is_refused_before_it_is_sent(client: TestClient) -> None:
    sent: list[int] = []

    def body() -> Iterator[bytes]:
        for _ in range(8):
            sent.append(MIB)
            yield b"x" * MIB

    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(MIB + 1001),
    }
    assert error_of(client.post(FILES, content=body(), headers=headers), 429)


def test_deleting_makes_room(client: TestClient) -> None:
    first = upload(client, b"x" * 1000)["id"]
    assert post(client, 1).status_code == 429
    assert client.delete(f"{FILES}/{first}").status_code == 200
    assert post(client, 1000).status_code == 200


def test_tenants_without_a_limit_have_none(stranger: TestClient, store: StubStore) -> None:
    assert post(stranger, 5000).status_code == 200
    assert store.stored_bytes("globex", 0.0) == StoredBytes(files=5000)


def test_parts_count_and_completing_them_does_not_count_them_twice(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    upload_id = begin(client, 900)
    parts = [send(client, upload_id, size).json()["id"] for size in (500, 400)]
    assert kept(store, clock) == StoredBytes(uploads=900)
    assert error_of(send(client, upload_id, 101), 429)["code"] == "storage_quota_exceeded"
    assert error_of(post(client, 101), 429)["message"].startswith(
        "tenant acme keeps 900 B (900 B of uploads) and may keep 1000 B"
    )
    done = client.post(f"{UPLOADS}/{upload_id}/complete", json={"part_ids": parts})
    assert done.json()["status"] == "completed"
    assert kept(store, clock) == StoredBytes(files=900)


def test_a_cancelled_or_overdue_upload_makes_room(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    cancelled, forgotten = begin(client, 500), begin(client, 500)
    for upload_id in (cancelled, forgotten):
        assert send(client, upload_id, 500).status_code == 200
    client.post(f"{UPLOADS}/{cancelled}/cancel")
    assert kept(store, clock) == StoredBytes(uploads=500)
    clock.advance(3600)
    assert client.get(FILES).status_code == 200
    begin(client, 1)  # clears away what is overdue
    assert kept(store, clock) == StoredBytes()


def test_an_upload_that_would_not_fit_is_not_begun(client: TestClient) -> None:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl"}
    answer = client.post(UPLOADS, json=body | {"bytes": 1001})
    assert error_of(answer, 429)["code"] == "storage_quota_exceeded"


def test_adapters_count_and_jobs_that_would_make_more_are_refused(
    client: TestClient, store: StubStore, storage: Storage, messenger: StubMessenger
) -> None:
    file_id = upload(client, b"x" * 10)["id"]
    create_job(client, training_file=file_id)
    store.put_model(ADAPTER)
    answer = client.post(JOBS, json={"model": "tiny", "training_file": file_id, "seed": 2})
    assert error_of(answer, 429)["code"] == "storage_quota_exceeded"
    sweep = {"model": "tiny", "training_file": file_id, "grid": {"seed": [1, 2]}}
    answer = client.post("/v1/fine_tuning/sweeps", json=sweep)
    assert error_of(answer, 429)["code"] == "storage_quota_exceeded"
    assert len(storage.names("jobs")) == len(messenger.prepared) == 1
    assert client.delete(f"/v1/models/{ADAPTER.name}").status_code == 200
    create_job(client, training_file=file_id, seed=2)


def test_a_repeated_create_is_answered_by_the_job_it_made_though_there_is_no_room_left(
    client: TestClient, store: StubStore
) -> None:
    body = {"model": "tiny", "training_file": upload(client, b"x" * 10)["id"]}
    first = client.post(JOBS, json=body, headers={"Idempotency-Key": "once"})
    store.put_model(ADAPTER)
    again = client.post(JOBS, json=body, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


def test_uploads_at_once_share_what_is_left(
    client: TestClient,
    storage: Storage,
    store: StubStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All have found that there is room and have opened their files before one has written."""
    together = threading.Barrier(4)
    writing = storage.writing

    @contextlib.contextmanager
    def slow(path: str) -> Iterator[IO[bytes]]:
        with writing(path) as stream:
            if path.endswith("/content"):
                together.wait(timeout=10)
            yield stream

    monkeypatch.setattr(storage, "writing", slow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda size: post(client, size).status_code, (400,) * 4))
    assert sorted(answers) == [200, 200, 429, 429]
    assert len(storage.names("files")) == 2
    assert kept(store, clock) == StoredBytes(files=800)


def test_bytes_are_counted_before_they_are_written(
    client: TestClient,
    storage: Storage,
    store: StubStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a process that dies there has held is free after a while."""
    seen: list[StoredBytes] = []
    put_file = store.put_file

    def lost(*_: Any) -> None:
        seen.append(kept(store, clock))
        raise Unavailable("Redis is not available: gone")

    monkeypatch.setattr(store, "put_file", lost)
    monkeypatch.setattr(store, "release_bytes", lost)
    assert post(client, 700).status_code == 503
    assert seen[0] == StoredBytes(files=700)
    monkeypatch.setattr(store, "put_file", put_file)
    clock.advance(HOLD_SECONDS - 1)
    assert post(client, 700).status_code == 429
    clock.advance(1)
    assert post(client, 700).status_code == 200


def test_whatever_is_wrong_with_a_body_leaves_nothing_counted(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    form = {"file": ("a.csv", b"x" * 300)}
    assert client.post(FILES, data={"purpose": "fine-tune"}, files=form).status_code == 400
    upload_id = begin(client, 100)
    assert send(client, upload_id, 0).status_code == 400
    assert kept(store, clock) == StoredBytes()


def test_a_lower_limit_refuses_what_comes_and_keeps_what_is(
    client: TestClient, policy: Path, clock: FakeClock
) -> None:
    first = upload(client, b"x" * 900)["id"]
    policy.write_text("[tenants.acme]\nmax_storage = 500\n# from now on\n")
    assert post(client, 1).status_code == 200
    clock.advance(5)
    assert error_of(post(client, 1), 429)["message"].startswith(
        "tenant acme keeps 901 B (901 B of files) and may keep 500 B"
    )
    assert client.get(f"{FILES}/{first}/content").content == b"x" * 900


def test_recovering_counts_again_what_the_store_has_lost(
    client: TestClient, storage: Storage, clock: FakeClock
) -> None:
    upload(client, b"x" * 300)
    storage.write("models/ftjob-1.json", encode(replace(ADAPTER, bytes=50)))
    fresh = StubStore(clock)
    for _ in range(2):
        recover(fresh, storage, clock.now())
        assert fresh.stored_bytes("acme", clock.now()) == StoredBytes(files=300, adapters=50)


def test_the_stock_client_does_not_ask_again(client: TestClient) -> None:
    asked: list[Any] = []
    client.event_hooks["request"].append(asked.append)
    key = client.headers["Authorization"].removeprefix("Bearer ")
    stock = openai.OpenAI(api_key=key, base_url="http://testserver/v1", http_client=client)
    with pytest.raises(openai.RateLimitError, match="may keep 1000 B") as caught:
        stock.files.create(file=("a.jsonl", b"x" * 1001), purpose="fine-tune")
    assert caught.value.code == "storage_quota_exceeded"
    assert len(asked) == 1
