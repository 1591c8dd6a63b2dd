"""Thousands of broken uploads and hostile files leave a real API and a real prepare as they were.

PANDO_HOSTILE_REQUESTS says how many, PANDO_FUZZ_SEED which; `make fuzz` sends many more.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from api_server import ApiServer, serving
from hostile_data import (
    CONTENT_TYPE,
    GOOD_LINE,
    broken_form,
    broken_request,
    form,
    hostile_file,
)
from redis import Redis

from pando_shared.api_keys import new_api_key
from pando_shared.settings import MIB
from pando_shared.store.redis import RedisStore

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = int(os.environ.get("PANDO_HOSTILE_REQUESTS", "300"))
SEED = int(os.environ.get("PANDO_FUZZ_SEED", "1"))
#: Allocators keep some of what they once had, more so in the first minute.
GROWTH_BYTES = 48 * MIB
#: A job that is still being validated after so long was lost.
PREPARE_SECONDS = 60.0
ENDED = {"succeeded", "failed", "cancelled"}


@dataclass
class Target:
    """What is attacked, and what came of it so far: answers by their status, 0 where none came."""

    api: ApiServer
    prepare: int
    redis_url: str
    storage: Path
    secret: str
    answers: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def api_pid(self) -> int:
        assert self.api.process is not None
        return self.api.process.pid

    def child(self) -> int:
        """Of the process that prepares: the one that does the work."""
        return int(psutil.Process(self.prepare).children()[0].pid)

    def pids(self) -> tuple[int, int, int]:
        return self.api_pid, self.prepare, self.child()

    def rss(self) -> tuple[int, int]:
        """Bytes in memory of the API, and of the prepare child."""
        api, child = (psutil.Process(pid) for pid in (self.api_pid, self.child()))
        return int(api.memory_info().rss), int(child.memory_info().rss)

    def keys(self) -> list[str]:
        """Of Redis, but those of jobs, which stay, and those that end by themselves."""
        with Redis.from_url(self.redis_url, decode_responses=True) as client:
            lasting = [name for name in client.scan_iter() if client.ttl(name) == -1]
        return sorted(name for name in lasting if "ftjob-" not in name)

    def files(self) -> list[Path]:
        """In storage, finished or not, but those of keys and jobs."""
        found = (self.storage / folder for folder in ("files", "uploads"))
        return [path for folder in found for path in folder.rglob("*") if path.is_file()]


@contextmanager
def preparing(environment: dict[str, str]) -> Iterator[int]:
    """`pando-worker --prepare`; gives its pid once it has its child."""
    command = [sys.executable, "-m", "pando_worker.main", "--prepare"]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 60
        while not psutil.Process(process.pid).children():
            assert time.monotonic() < deadline, "it has no child to work with"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def target(redis_url: str, tmp_path: Path) -> Iterator[Target]:
    secret, key = new_api_key("acme", "test", 0.0)
    store = RedisStore(redis_url)
    store.put_key(key)
    store.close()
    environment = {
        "PANDO_REDIS_URL": redis_url,
        "PANDO_STORAGE_URL": f"file://{tmp_path}/storage",
        "PANDO_MODELS": f"tiny={ROOT / 'models' / 'tiny-base'}",
        "PANDO_LOG_LEVEL": "ERROR",
    }
    with ExitStack() as stack:
        api = stack.enter_context(
            serving(
                redis_url,
                environment["PANDO_STORAGE_URL"],
                PANDO_MODELS=environment["PANDO_MODELS"],
                PANDO_LOG_LEVEL="ERROR",
            )
        )
        prepare = stack.enter_context(preparing(environment))
        yield Target(api, prepare, redis_url, tmp_path / "storage", secret)


def attack(target: Target, client: httpx.Client, rng: Random) -> None:
    """One thing that no good client does."""
    match rng.randrange(6):
        case 0 | 1 | 2:
            upload(target, client, broken_form(rng))
        case 3 | 4:
            target.answers[send_raw(target, broken_request(rng, target.secret), rng)] += 1
        case _:
            file_id = upload(target, client, form(hostile_file(rng)))
            if file_id:
                train(target, client, file_id)


def upload(target: Target, client: httpx.Client, body: bytes) -> str | None:
    """Send it as a form. What is taken all the same has to be deletable."""
    answer = client.post("/v1/files", content=body, headers={"Content-Type": CONTENT_TYPE})
    target.answers[answer.status_code] += 1
    return str(answer.json()["id"]) if answer.status_code == 200 else None


def send_raw(target: Target, request: bytes, rng: Random) -> int:
    """Send it and hang up, at once or after the answer has begun; the answer's status, or 0."""
    address = "127.0.0.1", target.api.port
    with suppress(OSError), socket.create_connection(address, timeout=0.05) as connection:
        connection.sendall(request)
        if rng.random() < 0.5:
            return int(connection.recv(12)[9:12] or 0)
    return 0


def train(target: Target, client: httpx.Client, file_id: str) -> None:
    """Have the file prepared, and see the job end or wait for a worker; then it is cancelled."""
    body = {"model": "tiny", "training_file": file_id}
    created = client.post("/v1/fine_tuning/jobs", json=body)
    target.answers[created.status_code] += 1
    path = f"/v1/fine_tuning/jobs/{created.json()['id']}"
    deadline = time.monotonic() + PREPARE_SECONDS
    while (job := client.get(path).json())["status"] == "validating_files":
        assert time.monotonic() < deadline, f"{path} is not prepared"
        time.sleep(0.01)
    if job["status"] == "failed":
        assert job["error"]["message"], path
    target.ends[job["status"]] += 1
    if job["status"] not in ENDED:
        assert client.post(f"{path}/cancel").status_code == 200


def clear(client: httpx.Client) -> None:
    for file in client.get("/v1/files").json()["data"]:
        assert client.delete(f"/v1/files/{file['id']}").status_code == 200


@pytest.mark.timeout(0 if REQUESTS > 1000 else 120)
def test_nothing_grows_and_nothing_is_left(target: Target) -> None:
    rng = Random(SEED)
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {target.secret}"}
    with httpx.Client(base_url=target.api.url, headers=headers, timeout=60) as client:
        # Every import and cache that good requests need is there before anything is measured.
        train(target, client, upload(target, client, form(GOOD_LINE)) or "")
        pids = target.pids()
        for _ in range(REQUESTS // 3):
            attack(target, client, rng)
        clear(client)
        keys, warm = target.keys(), target.rss()
        for _ in range(REQUESTS - REQUESTS // 3):
            attack(target, client, rng)
        clear(client)
        grown = [after - before for before, after in zip(warm, target.rss(), strict=True)]
        text = client.get("/metrics").text
    megabytes = [
        f"{rss / MIB:.1f} {growth / MIB:+.1f}" for rss, growth in zip(warm, grown, strict=True)
    ]
    print(
        f"\n{REQUESTS} requests (seed {SEED}) in {time.monotonic() - began:.0f} s: "
        f"answers {dict(target.answers.most_common())}, jobs {dict(target.ends)}, "
        f"API {megabytes[0]} MiB, prepare {megabytes[1]} MiB"
    )
    assert not [status for status in target.answers if status >= 500]
    assert 'status="5' not in text
    assert target.answers[400] > REQUESTS / 5, "most of it has to be refused"
    assert set(target.ends) <= {"failed", "queued"}
    assert target.ends["failed"], "some files must be found wrong"
    assert target.pids() == pids, "a process died, and another took its place"
    assert max(grown) < GROWTH_BYTES
    assert target.keys() == keys
    wait_until_clear(target)


def wait_until_clear(target: Target) -> None:
    """What broken-off uploads had written goes when their connections do."""
    deadline = time.monotonic() + 10
    while left := target.files():
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)
