"""A Redis that is well and takes no writes: callers hear `Unavailable`, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from factories import make_job, make_worker
from redis import Redis
from redis_process import RedisProcess

from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.records import Event
from pando_shared.store.redis import RedisStore

Write = Callable[[RedisStore, str], object]
#: A plain command, a transaction, scripts of each kind.
WRITES: dict[str, Write] = {
    "create": lambda store, _: store.create_job(make_job()),
    "update": lambda store, id_: store.update_job(id_, lambda job: replace(job, attempts=9)),
    "events": lambda store, id_: store.append_events(id_, [Event(1.0, "said")]),
    "worker": lambda store, _: store.put_worker(make_worker("w1")),
    "lead": lambda store, _: store.lead("scheduler-1", 5.0),
    "wake": lambda store, _: store.wake(),
}


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """Not the one that other tests use: this one is full, or a replica."""
    process = RedisProcess(tmp_path_factory.mktemp("refusing"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def own_store(own_redis: RedisProcess, clock: FakeClock) -> Iterator[RedisStore]:
    store = RedisStore(own_redis.url, clock)
    yield store
    store.close()


@pytest.fixture
def job_id(own_store: RedisStore) -> str:
    return own_store.create_job(make_job()).id


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_full(own_redis: RedisProcess, own_store: RedisStore, job_id: str, write: Write) -> None:
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(Unavailable, match="memory is full; raise its maxmemory"):
                write(own_store, job_id)
            assert own_store.get_job(job_id).attempts == 0
            assert own_store.list_jobs("acme")
        finally:
            client.config_set("maxmemory", 0)
    write(own_store, job_id)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_replica(
    own_redis: RedisProcess,
    redis_process: RedisProcess,
    own_store: RedisStore,
    job_id: str,
    write: Write,
) -> None:
    """As after a failover, while the address still leads to the former primary."""
    with Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", str(redis_process.port))
        try:
            with pytest.raises(Unavailable, match=r"a replica; PANDO_REDIS_URL must lead to"):
                write(own_store, job_id)
        finally:
            client.replicaof("NO", "ONE")
