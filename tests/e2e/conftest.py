"""The stack that end-to-end tests run against, started as users start it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from local_stack import LocalStack
from stack_access import Stack
from stack_jobs import StackJobs

PANDO = (sys.executable, "-m", "pando_cli")
ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny-base"
#: Faults are noticed, and progress is kept, within seconds; no test's kills use up a job's
#: attempts; and it is small enough that some files and jobs are too large.
QUICK = {
    "PANDO_ROUND_SECONDS": "6",
    "PANDO_CHECKPOINT_SECONDS": "1",
    "PANDO_LEASE_SECONDS": "3",
    "PANDO_HEARTBEAT_SECONDS": "0.5",
    "PANDO_MAX_ATTEMPTS": "20",
    "PANDO_MEMORY_BYTES": str(4 << 30),
    "PANDO_MAX_UPLOAD_BYTES": str(4 << 20),
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The one that the environment names, else `pando up` in a home of its own."""
    given = Stack.from_environment()
    if given is not None:
        yield given
        return
    home = tmp_path_factory.mktemp("home")
    up = [*PANDO, "up", "--home", home, "--port", "0", "--detach", "--json"]
    started = subprocess.run(up, capture_output=True, text=True)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        found = json.loads(started.stdout)
        headers = {"Authorization": f"Bearer {found['api_key']}"}
        models = httpx.get(f"{found['url']}/v1/models", headers=headers).json()["data"]
        yield Stack(found["url"], found["api_key"], models[0]["id"])
    finally:
        subprocess.run([*PANDO, "down", "--home", home], check=True, capture_output=True)


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack to break things on. Its two bases are the same but for the name, so that one
    worker cannot train on both at once."""
    models = {"tiny": TINY, "twin": TINY}
    with LocalStack(tmp_path_factory.mktemp("quick") / "home", models, QUICK).running() as made:
        yield made


@pytest.fixture(scope="session")
def jobs(quick: LocalStack) -> StackJobs:
    return StackJobs(quick, ROOT / "examples" / "demo" / "pirate.jsonl")
