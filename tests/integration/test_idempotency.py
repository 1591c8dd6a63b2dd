"""Requests to two API processes at the same moment, over a real Redis: each thing is made once, and
a tenant's quota of jobs holds for both together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_calls import CHAT_LINE
from api_server import serving

from pando_shared.api_keys import new_api_key
from pando_shared.storage import Storage
from pando_shared.store.redis import RedisStore

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-base"
ROUNDS = 5
AT_ONCE = 4
UPLOAD = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": 9}
MOST_JOBS = 3


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/storage"


@pytest.fixture
def clients(redis_url: str, storage_url: str, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """One user's, of two processes."""
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[tenants.acme]\nmax_jobs = {MOST_JOBS}\n")
    secret, key = new_api_key("acme", "test", 0.0)
    store = RedisStore(redis_url)
    store.put_key(key)
    store.close()
    environment = {"PANDO_MODELS": f"tiny={TINY}", "PANDO_POLICY_FILE": str(policy)}
    headers = {"Authorization": f"Bearer {secret}"}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(redis_url, storage_url, **environment)) for _ in range(2)
        ]
        yield [
            stack.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=30))
            for server in servers
        ]


def at_once(clients: list[httpx.Client], send: Callable[[httpx.Client, int], Any]) -> list[Any]:
    """What each of some requests came to, to each process in turn."""
    together = threading.Barrier(AT_ONCE)

    def one(number: int) -> Any:
        together.wait(timeout=10)
        return send(clients[number % 2], number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_requests_with_one_key_make_one_thing(
    clients: list[httpx.Client], storage_url: str
) -> None:
    def send_file(client: httpx.Client, _: int) -> httpx.Response:
        form = {"file": ("a.jsonl", f"{CHAT_LINE}\n".encode())}
        return client.post("/v1/files", data={"purpose": "fine-tune"}, files=form, headers=key)

    def begin(client: httpx.Client, _: int) -> httpx.Response:
        return client.post("/v1/uploads", json=UPLOAD, headers=key)

    uploads = set()
    for number in range(ROUNDS):
        key = {"Idempotency-Key": f"key-{number}"}
        for send in (send_file, begin):
            answers = at_once(clients, send)
            assert {answer.status_code for answer in answers} == {200}
            first = answers[0].json()
            assert all(answer.json() == first for answer in answers)
        uploads.add(first["id"])
    files = [file["id"] for file in clients[0].get("/v1/files").json()["data"]]
    assert len(files) == len(uploads) == ROUNDS
    assert Storage(storage_url).names("files") == sorted(files)
    size = len(CHAT_LINE) + 1
    assert clients[1].get("/v1/usage").json()["storage"]["used"] == ROUNDS * size


def test_both_processes_together_keep_to_the_quota_of_jobs(
    clients: list[httpx.Client], storage_url: str
) -> None:
    form = {"file": ("a.jsonl", f"{CHAT_LINE}\n".encode())}
    file_id = clients[0].post("/v1/files", data={"purpose": "fine-tune"}, files=form).json()["id"]

    def create(client: httpx.Client, number: int) -> int:
        body = {"model": "tiny", "training_file": file_id, "seed": number}
        return client.post("/v1/fine_tuning/jobs", json=body).status_code

    for _ in range(ROUNDS):
        assert sorted(at_once(clients, create)) == [200] * MOST_JOBS + [429]
        jobs = clients[0].get("/v1/fine_tuning/jobs").json()["data"]
        for job in jobs:
            clients[0].post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
    assert len(Storage(storage_url).names("jobs")) == ROUNDS * MOST_JOBS
