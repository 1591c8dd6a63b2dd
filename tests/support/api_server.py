"""The API as users run it, `python -m pando_api`, for tests that need the real process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx


@dataclass
class ApiServer:
    """A process that can be killed, and started again where it was."""

    redis_url: str
    storage_url: str
    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    #: A command that the process is started by, such as one that lowers a limit.
    starter: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "PANDO_REDIS_URL": self.redis_url,
            "PANDO_STORAGE_URL": self.storage_url,
            "PANDO_PORT": str(self.port),
            **self.environment,
        }
        command = [*self.starter, sys.executable, "-m", "pando_api"]
        self.process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 30
        while not self._is_ready():
            assert time.monotonic() < deadline, "the API did not become ready"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as when memory runs out."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(redis_url: str, storage_url: str, **environment: str) -> Iterator[ApiServer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = ApiServer(redis_url, storage_url, environment, port)
    try:
        server.start()
        yield server
    finally:
        server.kill()
