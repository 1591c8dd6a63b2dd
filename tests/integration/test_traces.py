"""A dead collector delays no service, and one that lacks the packages says so and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from api_server import serving

from pando_shared.api_keys import new_api_key
from pando_shared.store.redis import RedisStore
from pando_shared.trace_setup import FLUSH_SECONDS


def test_a_silent_collector_delays_neither_requests_nor_the_end(
    redis_url: str, tmp_path: Path
) -> None:
    store = RedisStore(redis_url)
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    store.close()
    headers = {"Authorization": f"Bearer {secret}"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"PANDO_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with serving(redis_url, f"file://{tmp_path}/storage", **environment) as server:
            process = server.process
            assert process is not None
            slowest = 0.0
            with httpx.Client(base_url=server.url, headers=headers) as client:
                for _ in range(100):
                    began = time.monotonic()
                    assert client.get("/v1/models").status_code == 200
                    slowest = max(slowest, time.monotonic() - began)
            assert slowest < 5  # the collector would be waited for twice as long
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=FLUSH_SECONDS + 10) == 0


@pytest.mark.parametrize("module", ["pando_api.main", "pando_scheduler.main", "pando_worker.main"])
def test_a_service_without_the_packages_says_so_and_ends(
    module: str, redis_url: str, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = []; "
        f"import {module}; {module}.main()"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "PANDO_REDIS_URL": redis_url,
        "PANDO_STORAGE_URL": f"file://{tmp_path}/storage",
        "PANDO_OTLP_ENDPOINT": "http://collector:4318",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("PANDO_OTLP_ENDPOINT is set, but")
