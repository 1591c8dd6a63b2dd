"""`python -m pando_api` over a real Redis: it becomes ready, and SIGTERM ends it cleanly."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest
from api_server import serving
from factories import make_job

from pando_shared.api_keys import new_api_key
from pando_shared.store.redis import RedisStore


def test_sigterm_ends_open_streams_and_succeeds(redis_url: str, tmp_path: Path) -> None:
    store = RedisStore(redis_url)
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    job = store.create_job(make_job(tenant="acme"))
    headers = {"Authorization": f"Bearer {secret}"}
    with serving(redis_url, f"file://{tmp_path}/storage") as server:
        process = server.process
        assert process is not None
        path = f"{server.url}/v1/fine_tuning/jobs/{job.id}/events?stream=true"
        with httpx.stream("GET", path, headers=headers, timeout=30) as stream:
            assert stream.status_code == 200
            began = time.monotonic()
            threading.Timer(0.1, process.send_signal, [signal.SIGTERM]).start()
            with pytest.raises(httpx.RemoteProtocolError):
                stream.read()
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 5
    store.close()
