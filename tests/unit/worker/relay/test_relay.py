"""A parent serves what its child counts; a child that outlives it keeps nothing from the next."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest
from redis_process import free_port

from pando_worker.relay import MetricsRelay

_PARENT = """
import os, sys, time
from prometheus_client import CollectorRegistry, Counter
from pando_worker.relay import MetricsRelay

relay = MetricsRelay("worker")
relay.serve(int(sys.argv[1]), "127.0.0.1")
if os.fork() == 0:
    registry = CollectorRegistry()
    Counter("steps", "Steps", registry=registry).inc(5)
    relay.join(registry)
    print("joined", flush=True)
time.sleep(60)
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def parent(port: int) -> Iterator[psutil.Process]:
    """Of a child that has joined."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(port)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"joined\n"
        found = psutil.Process(process.pid)
        children = found.children()
        yield found
        process.kill()
        for child in children:
            if child.is_running():
                child.kill()


def read(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_what_the_child_counts_is_served_with_the_release(
    parent: psutil.Process, port: int
) -> None:
    text = read(port)
    assert "steps_total 5.0\n" in text
    assert 'pando_build_info{service="worker",version="' in text


def test_it_stays_when_the_child_is_killed(parent: psutil.Process, port: int) -> None:
    (child,) = parent.children()
    child.kill()
    assert "steps_total 5.0\n" in read(port)
    assert "pando_child_deaths_total 1.0\n" in read(port)


def test_a_child_that_lives_on_leaves_the_port_to_the_next_parent(
    parent: psutil.Process, port: int
) -> None:
    (child,) = parent.children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert child.is_running()
    relay = MetricsRelay("worker")
    relay.serve(port, "127.0.0.1")
    assert "pando_child_deaths_total 0.0\n" in read(port)
    relay.close()


def test_a_taken_port_is_an_error(parent: psutil.Process, port: int) -> None:
    relay = MetricsRelay("worker")
    with pytest.raises(OSError, match="in use"):
        relay.serve(port, "127.0.0.1")
    relay.close()
