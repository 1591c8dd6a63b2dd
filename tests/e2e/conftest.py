"""The stack that end-to-end tests run against, started as users start it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from stack_access import Stack

PANDO = (sys.executable, "-m", "pando_cli")


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
