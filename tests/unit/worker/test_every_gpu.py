"""A process for each GPU: what each is told, and that they come and go together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pando_worker.every_gpu import environments


def test_each_gpu_has_a_worker_of_its_own_and_a_port() -> None:
    first, second = environments(("cuda:0", "cuda:1"), 9100)
    assert (first["PANDO_DEVICE"], second["PANDO_DEVICE"]) == ("cuda:0", "cuda:1")
    assert (first["PANDO_METRICS_PORT"], second["PANDO_METRICS_PORT"]) == ("9100", "9101")
    assert first["PANDO_WORKER_ID"] == second["PANDO_WORKER_ID"] == ""


def test_without_a_port_nobody_is_given_one() -> None:
    assert environments(("cpu",), None) == [{"PANDO_DEVICE": "cpu", "PANDO_WORKER_ID": ""}]


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    """`pando-worker --every-gpu` on two GPUs that are there by name only, with no Redis at all:
    its workers wait for one, and that is enough to see them come and go."""

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "pando_worker.main", "--every-gpu"],
            env={
                "PATH": "/usr/bin:/bin",
                "CUDA_VISIBLE_DEVICES": "0,1",
                "PANDO_REDIS_URL": "redis://127.0.0.1:1/0",
                "PANDO_STORAGE_URL": f"file://{tmp_path}",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    return begin


def children(process: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(process.pid).children()) < count:
        assert time.monotonic() < deadline, "the workers were not started"
        time.sleep(0.05)
    return found


def test_told_to_stop_it_leaves_nobody_behind(
    start: Callable[[], subprocess.Popen[bytes]],
) -> None:
    process = start()
    workers = children(process, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert not any(worker.is_running() for worker in workers)


def test_one_that_is_killed_takes_the_other_along(
    start: Callable[[], subprocess.Popen[bytes]],
) -> None:
    process = start()
    workers = children(process, 2)
    workers[0].kill()
    assert process.wait(timeout=60) != 0
    assert not any(worker.is_running() for worker in workers)
