"""`python -m pando_api` over a real Redis: it becomes ready, and SIGTERM ends it cleanly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from factories import make_job

from pando_shared.api_keys import new_api_key
from pando_shared.store.redis import RedisStore


@pytest.fixture
def url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def process(url: str, redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PANDO_REDIS_URL": redis_url,
        "PANDO_STORAGE_URL": f"file://{tmp_path}/storage",
        "PANDO_PORT": url.rpartition(":")[2],
    }
    with subprocess.Popen([sys.executable, "-m", "pando_api"], env=environment) as running:
        yield running
        running.kill()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.ConnectError:
            time.sleep(0.05)
    raise TimeoutError("the API did not become ready")


def test_sigterm_ends_open_streams_and_succeeds(
    process: subprocess.Popen[bytes], url: str, redis_url: str
) -> None:
    store = RedisStore(redis_url)
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    job = store.create_job(make_job(tenant="acme"))
    wait_until_ready(url)
    path = f"{url}/v1/fine_tuning/jobs/{job.id}/events?stream=true"
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.stream("GET", path, headers=headers, timeout=30) as stream:
        assert stream.status_code == 200
        began = time.monotonic()
        threading.Timer(0.1, process.send_signal, [signal.SIGTERM]).start()
        with pytest.raises(httpx.RemoteProtocolError):
            stream.read()
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    store.close()
