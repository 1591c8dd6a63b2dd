"""The stock client uploads one file in parts through two API processes, over a real Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import openai
import pytest
from api_server import serving

from pando_shared.api_keys import new_api_key
from pando_shared.settings import MIB
from pando_shared.storage import Storage
from pando_shared.store.redis import RedisStore


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
        servers = [stack.enter_context(serving(redis_url, storage_url)) for _ in range(2)]
        yield [
            stack.enter_context(
                openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0)
            )
            for server in servers
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
