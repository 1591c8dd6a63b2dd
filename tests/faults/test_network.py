"""The store over a network that is slow, cut, or silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from factories import make_job
from redis_process import RedisProcess
from tcp_proxy import Network, TcpProxy

from pando_shared.errors import StaleEpoch
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.store.redis import RedisStore


@pytest.fixture
def proxy(network: Network, redis_url: str, redis_process: RedisProcess) -> TcpProxy:
    return network.proxy(redis_process.port)


@pytest.fixture
def near(redis_url: str) -> Iterator[RedisStore]:
    """A store whose network is well."""
    store = RedisStore(redis_url)
    yield store
    store.close()


@pytest.fixture
def far(proxy: TcpProxy) -> Iterator[RedisStore]:
    """One behind the proxy."""
    store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0")
    yield store
    proxy.heal()
    store.close()


def test_latency_costs_time_and_nothing_else(far: RedisStore, proxy: TcpProxy) -> None:
    far.ping()
    proxy.delay(0.1)
    began = time.monotonic()
    job = far.create_job(make_job())
    assert time.monotonic() - began >= 0.2  # there, and back
    assert far.get_job(job.id) == job


def test_a_connection_that_is_cut_again_and_again(
    far: RedisStore, near: RedisStore, proxy: TcpProxy
) -> None:
    """Each change happens exactly once, whichever half of its commands had arrived."""
    job = far.create_job(make_job())
    ending = threading.Event()

    def cut() -> None:
        while not ending.wait(0.03):
            proxy.reset_connections()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        for _ in range(40):
            far.update_job(job.id, lambda job: replace(job, attempts=job.attempts + 1))
    finally:
        ending.set()
        cutter.join()
    assert near.get_job(job.id).attempts == 40


def test_a_refused_connection_is_waited_for(far: RedisStore, proxy: TcpProxy) -> None:
    far.ping()
    proxy.cut()
    mended = threading.Timer(0.7, proxy.heal)
    mended.start()
    assert far.create_job(make_job())
    mended.join()


def test_what_a_partitioned_writer_had_on_its_way_is_refused_when_it_arrives(
    far: RedisStore, near: RedisStore, proxy: TcpProxy
) -> None:
    job = far.create_job(replace(make_job(state=JobState.RUNNING), epoch=1))
    far.append_events(job.id, [Event(1.0, "Step 1")], epoch=1)
    outcome: list[Exception] = []

    def write_late() -> None:
        try:
            far.append_events(job.id, [Event(2.0, "Step 2, of a stale writer")], epoch=1)
        except StaleEpoch as error:
            outcome.append(error)

    proxy.silence()
    writer = threading.Thread(target=write_late)
    writer.start()
    near.update_job(job.id, lambda job: replace(job, epoch=2))
    near.append_events(job.id, [Event(2.0, "Step 2")], epoch=2)
    proxy.heal()
    writer.join()
    assert len(outcome) == 1
    assert [event.message for event in near.events(job.id)] == ["Step 1", "Step 2"]


def test_the_way_leads_elsewhere_after_a_failover(
    far: RedisStore, proxy: TcpProxy, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = RedisProcess(tmp_path_factory.mktemp("other"))
    other.start()
    try:
        first = far.create_job(make_job())
        proxy.lead_to(other.port)
        second = far.create_job(make_job())
        assert far.get_jobs([first.id, second.id]) == [None, second]
    finally:
        other.kill()
