"""One service that is kept running."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from pando_cli.stack.backoff import Backoff
from pando_cli.stack.process_group import kill_groups
from pando_cli.stack.service_spec import ServiceSpec


class Supervised:
    """A process of `spec`, started again when it dies, ever more slowly if it dies often."""

    def __init__(self, spec: ServiceSpec, log: Path):
        self.spec = spec
        self.log = log
        self.backoff = Backoff()
        self.exit_status: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._may_start_at = 0.0

    @property
    def pid(self) -> int | None:
        """Also its process group; None while it is not running."""
        return self._process.pid if self._process else None

    def due(self) -> bool:
        return self._process is None and time.monotonic() >= self._may_start_at

    def start(self) -> int:
        """Returns the new process group."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.spec.environment},
                start_new_session=True,
            )
        self._started_at = time.monotonic()
        return self._process.pid

    def reap(self) -> int | None:
        """If the process has died since the last look, its group, cleared of whoever is left."""
        if self._process is None or self._process.poll() is None:
            return None
        group = self._process.pid
        kill_groups([group])
        now = time.monotonic()
        self.exit_status = self._process.returncode
        self.backoff = self.backoff.after_death(now - self._started_at)
        self._may_start_at = now + self.backoff.seconds
        self._process = None
        return group
