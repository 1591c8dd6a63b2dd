"""A stack on this machine, for tests that need more of it than its API: `pando up` in a home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI
from redis import Redis

PANDO = Path(sys.executable).parent / "pando"
#: What would lead a command to another stack than the home's.
ELSEWHERE = ("PANDO_URL", "PANDO_API_KEY", "PANDO_REDIS_URL", "PANDO_STORAGE_URL")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class LocalStack:
    """A home, and commands that know of nothing else. `up` is what `pando up` said last."""

    home: Path
    models: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    up: Mapping[str, Any] = field(default_factory=dict)

    def pando(self, *arguments: str, **environment: str) -> Done:
        clean = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        own = {"PANDO_HOME": str(self.home), "OMP_NUM_THREADS": "1", **self.environment}
        done = subprocess.run(
            [PANDO, *arguments],
            env={**clean, **own, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self) -> None:
        pairs = [f"{name}={path}" for name, path in self.models.items()]
        models = [word for pair in pairs for word in ("--model", pair)]
        done = self.pando("up", "--detach", "--json", "--port", "0", "--device", "cpu", *models)
        assert done.code == 0, done.out + done.err
        self.up = done.json

    @contextmanager
    def running(self) -> Iterator[LocalStack]:
        try:
            self.start()
            yield self
        finally:
            self.pando("down")

    def client(self, api_key: str | None = None) -> OpenAI:
        return OpenAI(base_url=f"{self.up['url']}/v1", api_key=api_key or self.up["api_key"])

    def redis_url(self) -> str:
        record = json.loads((self.home / "stack.json").read_text())
        return str(record["environment"]["PANDO_REDIS_URL"])

    def lose_redis(self) -> None:
        """Everything that Redis held, at once."""
        with Redis.from_url(self.redis_url()) as redis:
            redis.flushall()

    def log(self, name: str) -> str:
        return (self.home / "logs" / f"{name}.log").read_text()

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all below it."""
        supervisor = psutil.Process(self.up["pids"]["supervisor"])
        return [supervisor, *supervisor.children(recursive=True)]

    def service(self, script: str, *arguments: str) -> psutil.Process | None:
        """The process that now runs a service, e.g. ("pando-worker", "--prepare")."""
        for process in psutil.Process(self.up["pids"]["supervisor"]).children():
            with suppress(psutil.NoSuchProcess):  # it may end while we look
                command = process.cmdline()
                if [Path(word).name for word in command[1:]] == [script, *arguments]:
                    return process
        return None

    def training_worker(self) -> psutil.Process | None:
        return self.service("pando-worker")

    def training_child(self) -> psutil.Process | None:
        """The process that holds the base and the adapters."""
        worker = self.training_worker()
        with suppress(psutil.NoSuchProcess):  # it may end while we look
            return next(iter(worker.children()), None) if worker else None
        return None


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
