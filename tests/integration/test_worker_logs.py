"""A worker's log is ours, whatever Celery, its children and the libraries in them would write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from pando_shared.store.messages import CeleryMessenger, make_celery

MODEL = Path(__file__).parents[2] / "models" / "tiny-base"
PASSWORD = "hunter2hunter2"

Start = Callable[..., "subprocess.Popen[bytes]"]


class Written:
    """What a process has written so far."""

    def __init__(self, folder: Path):
        self.out: IO[bytes] = (folder / "out").open("wb")
        self.error: IO[bytes] = (folder / "error").open("wb")

    def lines(self) -> list[str]:
        return Path(self.error.name).read_text().splitlines()

    def until(self, text: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.lines()):
            assert time.monotonic() < deadline, f"never logged {text!r}: {self.lines()}"
            time.sleep(0.1)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    files = Written(tmp_path)
    yield files
    files.out.close()
    files.error.close()


@pytest.fixture
def start(redis_url: str, tmp_path: Path, written: Written) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pando_worker.main", *arguments],
            env={
                **os.environ,
                # A Redis without passwords takes any for its default user.
                "PANDO_REDIS_URL": redis_url.replace("://", f"://:{PASSWORD}@"),
                "PANDO_STORAGE_URL": f"file://{tmp_path}/storage",
                "PANDO_CACHE_DIR": f"{tmp_path}/cache",
                "PANDO_MODELS": f"tiny={MODEL}",
                "PANDO_LOG_FORMAT": "json",
                **environment,
            },
            stdout=written.out,
            stderr=written.error,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)


def test_every_line_of_the_process_that_prepares_is_json(
    start: Start, written: Written, redis_url: str
) -> None:
    process = start("--prepare")
    written.until("ready.")
    CeleryMessenger(make_celery(redis_url)).prepare("ftjob-unknown")
    written.until("raised unexpected")
    end(process)
    lines = [json.loads(line) for line in written.lines()]
    assert {line["service"] for line in lines} == {"prepare"}
    (failed,) = [line for line in lines if "raised unexpected" in line["message"]]
    assert failed["logger"].startswith("celery.")
    assert failed["job_id"] == "ftjob-unknown"
    assert "ftjob-unknown" in failed["exception"]
    assert not [line for line in lines if line["message"].endswith(" received")]
    assert failed["exception"].startswith("Traceback (most recent call last):\n")
    assert PASSWORD not in "\n".join(written.lines()) + Path(written.out.name).read_text()


def test_a_worker_says_plainly_that_its_gpu_is_missing(start: Start, written: Written) -> None:
    process = start(PANDO_WORKER_ID="w1", PANDO_DEVICE="cuda:0", CUDA_VISIBLE_DEVICES="")
    written.until("this process cannot train")
    process.kill()
    lines = [json.loads(line) for line in written.lines()]
    told = next(line for line in lines if "this process cannot train" in line["message"])
    assert "PANDO_DEVICE is cuda:0, but" in told["message"]
    assert "PANDO_DEVICE=cpu trains without a GPU" in told["message"]
    assert (told["level"], "exception" in told) == ("CRITICAL", False)


def test_every_line_of_a_worker_is_json_and_names_it(
    start: Start, written: Written, redis_url: str
) -> None:
    process = start(PANDO_WORKER_ID="w1", PANDO_DEVICE="cpu")
    written.until("base model tiny is ready")
    CeleryMessenger(make_celery(redis_url)).round("w1", "round-of-old")
    written.until("not to be run here now")
    written.until("succeeded in")
    end(process)
    lines = [json.loads(line) for line in written.lines()]
    assert {(line["service"], line["worker_id"]) for line in lines} == {("worker", "w1")}
    (told,) = [line for line in lines if "not to be run" in line["message"]]
    (ended,) = [line for line in lines if "succeeded in" in line["message"]]
    assert (told["round_id"], ended["round_id"]) == ("round-of-old", "round-of-old")
    assert PASSWORD not in "\n".join(written.lines()) + Path(written.out.name).read_text()
