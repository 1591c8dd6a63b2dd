"""Fixtures that every package's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis_process import RedisProcess
from triton_interpreter import choose

from pando_shared.clock import FakeClock
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.stub import StubStore

# Before any test module imports triton.
choose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/storage")


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """One redis-server for the session; a test that kills it starts it again."""
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def redis_url(redis_process: RedisProcess) -> str:
    """URL of an empty Redis."""
    with Redis.from_url(redis_process.url) as client:
        client.flushall()
    return redis_process.url


@pytest.fixture(params=["stub", "redis"])
def store(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Store]:
    """Every kind of store, empty, on the test's clock."""
    if request.param == "stub":
        yield StubStore(clock)
        return
    redis_store = RedisStore(request.getfixturevalue("redis_url"), clock)
    yield redis_store
    redis_store.close()
