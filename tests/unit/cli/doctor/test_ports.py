from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pando_cli.doctor.finding import Status
from pando_cli.doctor.ports import api_port, redis_port, running
from pando_cli.home import Home
from pando_cli.stack.ports import free_port

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def home_with_redis_port(folder: Path, port: int) -> Home:
    home = Home.locate(folder)
    home.redis.mkdir()
    address = {"host": HOST, "port": port, "password": "geheim"}
    (home.redis / "address.json").write_text(json.dumps(address))
    return home


def test_free(tmp_path: Path) -> None:
    port = free_port(HOST)
    assert api_port(HOST, port).status is Status.OK
    assert redis_port(home_with_redis_port(tmp_path, port)).status is Status.OK


def test_taken_and_by_whom(taken: int, tmp_path: Path) -> None:
    api = api_port(HOST, taken)
    redis = redis_port(home_with_redis_port(tmp_path, taken))
    for found in (api, redis):
        assert found.status is Status.WARN
        assert f"process {os.getpid()}" in found.found
    assert "--port" in api.mend
    assert "geheim" not in repr(redis)


def test_an_address_that_is_not_this_machines() -> None:
    found = api_port("203.0.113.7", 8000)
    assert found.status is Status.FAIL
    assert "--host" in found.mend


def test_a_home_that_never_had_a_redis(tmp_path: Path) -> None:
    assert redis_port(Home.locate(tmp_path)).status is Status.SKIPPED


def test_a_running_stack_has_them() -> None:
    assert {finding.status for finding in running("in use")} == {Status.SKIPPED}
