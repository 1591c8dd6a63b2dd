"""What callers of the Redis store see while Redis restarts, hangs up or stays away."""

import threading
from dataclasses import replace

import pytest
from factories import make_job
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis_process import RedisProcess, free_port

from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.store import Change
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.client import transact


@pytest.fixture
def redis_store(redis_url: str, clock: FakeClock):  # type: ignore[no-untyped-def]
    store = RedisStore(redis_url, clock)
    yield store
    store.close()


def test_a_command_outlives_a_restart(redis_store: RedisStore, redis_process: RedisProcess) -> None:
    job = redis_store.create_job(make_job())
    redis_process.kill()
    restart = threading.Timer(0.3, redis_process.start)
    restart.start()
    assert redis_store.get_job(job.id) == job
    paused = redis_store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    restart.join()
    assert redis_store.jobs_in(JobState.PAUSED) == [paused]


def test_dropped_connections_are_made_anew(redis_store: RedisStore, redis_url: str) -> None:
    job = redis_store.create_job(make_job())
    with Redis.from_url(redis_url) as other:
        other.client_kill_filter(_type="normal")
    assert redis_store.list_jobs("acme") == [job]


def test_a_change_whose_acknowledgement_is_lost_happens_once(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = redis_store.create_job(make_job())
    real = Pipeline._execute_transaction
    lost: list[bool] = []

    def executes_then_breaks(self: Pipeline, *args: object) -> object:
        outcome = real(self, *args)
        if not lost:
            lost.append(True)
            self.watching = True
            raise RedisConnectionError("connection reset after EXEC")
        return outcome

    monkeypatch.setattr(Pipeline, "_execute_transaction", executes_then_breaks)
    redis_store.update_job(
        job.id, lambda job: Change(replace(job, attempts=job.attempts + 1), (Event(0.0, "+"),))
    )
    assert lost
    assert redis_store.get_job(job.id).attempts == 1
    assert len(redis_store.events(job.id)) == 1


def test_a_redis_that_stays_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    store._redis.set_retry(Retry(NoBackoff(), 1))
    with pytest.raises(Unavailable, match="Redis is not available"):
        store.get_job("ftjob-1")
    with pytest.raises(Unavailable):
        store.update_job("ftjob-1", lambda job: job)
    with pytest.raises(Unavailable):
        store.wait(1.0)


def test_a_full_redis_is_unavailable_and_loses_nothing(
    redis_store: RedisStore, redis_url: str
) -> None:
    job = redis_store.create_job(make_job())
    with Redis.from_url(redis_url) as other:
        other.config_set("maxmemory", "1")
        try:
            with pytest.raises(Unavailable):
                redis_store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
        finally:
            other.config_set("maxmemory", "0")
    assert redis_store.get_job(job.id) == job


def test_a_transaction_sees_a_change_made_meanwhile(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client, Redis.from_url(redis_url) as rival:
        seen: list[object] = []

        def body(pipe: Pipeline) -> int:
            value = int(pipe.get("counter") or 0)
            seen.append(value)
            if len(seen) == 1:
                rival.set("counter", 10)
            pipe.multi()
            pipe.set("counter", value + 1)
            return value + 1

        assert transact(client, ["counter"], body) == 11
        assert seen == [0, 10]
