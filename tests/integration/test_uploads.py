"""The stock client uploads one file in parts through two API processes, over a real Redis."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import httpx
import openai
import pytest

from pando_shared.api_keys import new_api_key
from pando_shared.settings import MIB
from pando_shared.storage import Storage
from pando_shared.store.redis import RedisStore


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.ConnectError:
            time.sleep(0.05)
    raise TimeoutError("the API did not become ready")


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/storage"


@pytest.fixture
def clients(redis_url: str, storage_url: str) -> Iterator[list[openai.OpenAI]]:
    """One user's, of two processes."""
    secret, key = new_api_key("acme", "test", 0.0)
    store = RedisStore(redis_url)
    store.put_key(key)
    store.close()
    with ExitStack() as stack:
        urls = []
        for port in (free_port(), free_port()):
            environment = {
                **os.environ,
                "PANDO_REDIS_URL": redis_url,
                "PANDO_STORAGE_URL": storage_url,
                "PANDO_PORT": str(port),
            }
            command = [sys.executable, "-m", "pando_api"]
            running = stack.enter_context(subprocess.Popen(command, env=environment))
            stack.callback(running.kill)
            urls.append(f"http://127.0.0.1:{port}")
        for url in urls:
            wait_until_ready(url)
        yield [
            stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0))
            for url in urls
        ]


def test_two_processes_make_one_file(clients: list[openai.OpenAI], storage_url: str) -> None:
    pieces = [bytes([65 + number]) * MIB for number in range(8)]
    whole = b"".join(pieces)
    upload = clients[0].uploads.create(
        filename="train.jsonl", purpose="fine-tune", bytes=len(whole), mime_type="text/jsonl"
    )

    def send(client: openai.OpenAI, piece: bytes) -> str:
        return client.uploads.parts.create(upload.id, data=piece).id

    def complete(client: openai.OpenAI) -> str:
        md5 = hashlib.md5(whole).hexdigest()
        done = client.uploads.complete(upload.id, part_ids=parts, md5=md5)
        assert done.file is not None
        return done.file.id

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(send, cycle(clients), pieces))
        completed = set(pool.map(complete, clients * 2))
    assert len(completed) == 1
    file_id = completed.pop()
    assert clients[1].files.content(file_id).read() == whole
    assert [file.id for file in clients[0].files.list()] == [file_id]
    storage = Storage(storage_url)
    assert (storage.names("files"), storage.names("uploads")) == ([file_id], [])
