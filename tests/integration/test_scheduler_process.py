"""The scheduler as a process: it places, outlives Redis, recovers a lost one and ends cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_job, make_worker
from redis import Redis
from redis_process import RedisProcess, free_port

from pando_shared import lifecycle
from pando_shared.jobs import Job, JobState
from pando_shared.storage import Storage
from pando_shared.store.messages import round_queue
from pando_shared.store.redis import RedisStore

MODEL = Path(__file__).parents[2] / "models" / "tiny-base"


class Scheduler:
    """A running `pando-scheduler`, and the store and storage it works on."""

    def __init__(self, redis_url: str, folder: Path):
        self.storage = Storage(f"file://{folder}/storage")
        self.store = RedisStore(redis_url)
        self.metrics_port = free_port()
        self._log = (folder / "scheduler.log").open("w+")
        environment = os.environ | {
            "PANDO_REDIS_URL": redis_url,
            "PANDO_STORAGE_URL": f"file://{folder}/storage",
            "PANDO_MODELS": f"tiny={MODEL}",
            "PANDO_METRICS_PORT": str(self.metrics_port),
        }
        self._environment = environment
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pando_scheduler"],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=10)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        self.store.close()

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    def report_worker(self) -> None:
        worker = make_worker(heartbeat_at=time.time(), budget_bytes=8 << 30)
        self.store.put_worker(worker)

    def submit(self) -> Job:
        return lifecycle.submit(self.store, self.storage, make_job(created_at=time.time()))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.report_worker()
            assert time.monotonic() < deadline, f"never saw {what}; the log:\n{self.log()}"
            time.sleep(0.05)

    def until_running(self, job: Job) -> None:
        self.until(
            lambda: self.store.get_job(job.id).state is JobState.RUNNING, f"{job.id} running"
        )


@pytest.fixture
def scheduler(redis_url: str, tmp_path: Path) -> Iterator[Scheduler]:
    process = Scheduler(redis_url, tmp_path)
    yield process
    process.close()


def test_it_places_counts_and_ends_cleanly(scheduler: Scheduler, redis_url: str) -> None:
    scheduler.report_worker()
    job = scheduler.submit()
    scheduler.until_running(job)
    with Redis.from_url(redis_url) as client:
        scheduler.until(lambda: client.llen(round_queue("w1")) == 1, "a round's message")
    url = f"http://127.0.0.1:{scheduler.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert 'pando_placements_total{outcome="placed"} 1.0' in answer.read().decode()
    assert scheduler.stop() == 0
    assert "stopping on SIGTERM" in scheduler.log()


def test_it_outlives_a_restart_of_redis(scheduler: Scheduler, redis_process: RedisProcess) -> None:
    first = scheduler.submit()
    scheduler.until_running(first)
    redis_process.kill()
    time.sleep(1.0)
    redis_process.start()
    second = scheduler.submit()
    scheduler.until_running(second)
    assert scheduler.store.get_job(first.id).attempts <= 1


def test_it_rebuilds_a_redis_that_lost_everything(scheduler: Scheduler, redis_url: str) -> None:
    job = scheduler.submit()
    scheduler.until_running(job)
    before = scheduler.store.get_job(job.id)
    assert scheduler.stop() == 0
    with Redis.from_url(redis_url) as client:
        client.flushall()
    finished = replace(make_job(), state=JobState.SUCCEEDED)
    lifecycle.record(scheduler.store, scheduler.storage, finished)
    scheduler.start()
    scheduler.until(lambda: scheduler.store.get_jobs([job.id]) != [None], "the job again")
    scheduler.until_running(job)
    after = scheduler.store.get_job(job.id)
    assert after.epoch > before.epoch
    assert scheduler.store.get_job(finished.id) == finished
    assert "recovering" in scheduler.log()
