"""The feed of changed jobs in every store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis_process import RedisProcess

from pando_shared.clock import FakeClock
from pando_shared.errors import IllegalTransition
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.store import JobChanges, Store
from pando_shared.store.redis import RedisStore, keys
from pando_shared.store.stub import StubStore

LEASE = Lease("w1", "w1-first", EPOCH_START + 15)
Feed = tuple[tuple[Job, ...], tuple[str, ...], bool]


@pytest.fixture(params=["stub", "redis"])
def forgetful(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Store]:
    """Every kind of store, with a feed that remembers three jobs."""
    if request.param == "stub":
        yield StubStore(clock, changes_kept=3)
        return
    store = RedisStore(request.getfixturevalue("redis_url"), clock, changes_kept=3)
    yield store
    store.close()


@pytest.fixture
def redis_store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url)
    yield store
    store.close()


def told(changes: JobChanges) -> Feed:
    return changes.jobs, changes.gone, changes.whole


def attempt(job: Job) -> Job:
    return replace(job, attempts=job.attempts + 1)


def test_a_reader_without_a_cursor_gets_all_that_is_live(store: Store) -> None:
    queued = store.create_job(make_job(created_at=EPOCH_START + 2))
    paused = store.create_job(make_job(created_at=EPOCH_START + 1, state=JobState.PAUSED))
    validating = store.create_job(make_job(created_at=EPOCH_START, state=JobState.VALIDATING))
    held = store.create_job(make_job(created_at=EPOCH_START, state=JobState.FAILED, lease=LEASE))
    store.create_job(make_job(state=JobState.SUCCEEDED))
    store.create_job(make_job(state=JobState.CANCELLED))
    jobs, gone, whole = told(store.changed_jobs(None))
    assert jobs == (*sorted([validating, held], key=lambda job: job.id), paused, queued)
    assert gone == ()
    assert whole


def test_an_empty_store_tells_nothing(store: Store) -> None:
    first = store.changed_jobs(None)
    assert told(first) == ((), (), True)
    assert store.changed_jobs(first.cursor) == JobChanges((), (), first.cursor, whole=False)


def test_every_write_is_told_once_and_as_it_is_by_now(store: Store) -> None:
    old = store.create_job(make_job())
    cursor = store.changed_jobs(None).cursor
    late = store.create_job(make_job(created_at=EPOCH_START + 9))
    restored = make_job(created_at=EPOCH_START + 1)
    store.restore_job(restored)
    store.update_job(late.id, attempt)
    late = store.update_job(late.id, attempt)
    changes = store.changed_jobs(cursor)
    assert told(changes) == ((restored, late), (), False)
    assert changes.cursor > cursor
    old = store.update_job(old.id, attempt)
    assert told(store.changed_jobs(changes.cursor)) == ((old,), (), False)


def test_a_job_that_has_ended_is_told(store: Store) -> None:
    job = store.create_job(make_job(state=JobState.RUNNING, lease=LEASE))
    cursor = store.changed_jobs(None).cursor
    ended = store.update_job(job.id, lambda job: job.to(JobState.SUCCEEDED))
    assert ended.lease is None
    assert told(store.changed_jobs(cursor)) == ((ended,), (), False)


def test_what_writes_nothing_changes_nothing(store: Store) -> None:
    job = store.create_job(make_job(), "key")
    before = store.changed_jobs(None)
    store.create_job(job)
    store.create_job(make_job(), "key")
    store.restore_job(job)
    with pytest.raises(IllegalTransition):
        store.update_job(job.id, lambda job: job.to(JobState.SUCCEEDED))
    assert store.update_job(job.id, lambda job: job) == job
    assert told(store.changed_jobs(before.cursor)) == ((), (), False)


def test_readers_have_cursors_of_their_own(store: Store) -> None:
    start = store.changed_jobs(None).cursor
    first = store.create_job(make_job())
    middle = store.changed_jobs(start).cursor
    second = store.create_job(make_job(created_at=EPOCH_START + 1))
    for _ in range(2):
        assert told(store.changed_jobs(start)) == ((first, second), (), False)
        assert told(store.changed_jobs(middle)) == ((second,), (), False)


def test_a_cursor_that_is_forgotten_gets_all(forgetful: Store) -> None:
    oldest = forgetful.create_job(make_job())
    before = forgetful.changed_jobs(None).cursor
    jobs = [forgetful.create_job(make_job(created_at=EPOCH_START + n)) for n in range(1, 4)]
    # The feed holds the three; of the write before them only the number is known.
    assert told(forgetful.changed_jobs(before)) == (tuple(jobs), (), False)
    after_first = before + 1
    newest = forgetful.create_job(make_job(created_at=EPOCH_START + 4))
    assert told(forgetful.changed_jobs(before)) == ((oldest, *jobs, newest), (), True)
    assert told(forgetful.changed_jobs(after_first)) == ((*jobs[1:], newest), (), False)


def test_writing_the_same_jobs_fills_no_feed(forgetful: Store) -> None:
    jobs = [forgetful.create_job(make_job(created_at=EPOCH_START + n)) for n in range(3)]
    cursor = forgetful.changed_jobs(None).cursor
    for _ in range(5):
        jobs = [forgetful.update_job(job.id, attempt) for job in jobs]
    assert told(forgetful.changed_jobs(cursor)) == (tuple(jobs), (), False)


def test_a_cursor_from_the_future_gets_all(store: Store) -> None:
    job = store.create_job(make_job())
    cursor = store.changed_jobs(None).cursor
    assert told(store.changed_jobs(cursor + 1)) == ((job,), (), True)
    assert told(store.changed_jobs(0)) == ((job,), (), True)


def test_no_write_is_missed_by_readers_beside_writers(store: Store) -> None:
    jobs = [store.create_job(make_job()) for _ in range(4)]
    changes = store.changed_jobs(None)
    kept = {job.id: job for job in changes.jobs}

    def write(job_id: str) -> None:
        for _ in range(25):
            store.update_job(job_id, attempt)

    threads = [threading.Thread(target=write, args=(job.id,)) for job in jobs]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        changes = store.changed_jobs(changes.cursor)
        assert not changes.whole
        kept.update({job.id: job for job in changes.jobs})
    changes = store.changed_jobs(changes.cursor)
    kept.update({job.id: job for job in changes.jobs})
    assert [job.attempts for job in kept.values()] == [25] * 4


def test_an_emptied_stub_gives_no_old_reader_a_part(clock: FakeClock) -> None:
    before, after = StubStore(clock), StubStore(clock)
    cursor = before.changed_jobs(None).cursor
    jobs = tuple(after.create_job(make_job(created_at=EPOCH_START + n)) for n in range(3))
    assert told(after.changed_jobs(cursor)) == (jobs, (), True)


def test_a_job_whose_record_is_missing_is_gone(redis_store: RedisStore, redis_url: str) -> None:
    cursor = redis_store.changed_jobs(None).cursor
    jobs = [redis_store.create_job(make_job(created_at=EPOCH_START + n)) for n in range(3)]
    with Redis.from_url(redis_url) as client:
        client.delete(keys.job(jobs[2].id), keys.job(jobs[0].id))
    missing = tuple(sorted((jobs[0].id, jobs[2].id)))
    assert told(redis_store.changed_jobs(cursor)) == ((jobs[1],), missing, False)
    assert told(redis_store.changed_jobs(None)) == ((jobs[1],), (), True)


def test_a_redis_that_lost_its_data_gives_no_old_reader_a_part(
    redis_store: RedisStore, redis_url: str
) -> None:
    for _ in range(3):
        redis_store.create_job(make_job())
    cursor = redis_store.changed_jobs(None).cursor
    with Redis.from_url(redis_url) as client:
        client.flushall()
    # As many writes as the reader knew of, and more.
    jobs = tuple(redis_store.create_job(make_job(created_at=EPOCH_START + n)) for n in range(5))
    assert told(redis_store.changed_jobs(cursor)) == (jobs, (), True)


def test_a_redis_that_restarted_may_have_lost_the_last_writes(
    redis_store: RedisStore, redis_process: RedisProcess
) -> None:
    job = redis_store.create_job(make_job())
    before = redis_store.changed_jobs(None).cursor
    redis_process.kill()
    redis_process.start()
    written = redis_store.update_job(job.id, attempt)
    changes = redis_store.changed_jobs(before)
    assert told(changes) == ((written,), (), True)
    assert changes.cursor > before
    assert told(redis_store.changed_jobs(before)) == ((written,), (), True)
    assert told(redis_store.changed_jobs(changes.cursor)) == ((), (), False)


def test_a_write_that_is_acknowledged_late_is_told_once(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = redis_store.create_job(make_job())
    cursor = redis_store.changed_jobs(None).cursor
    real: Callable[..., object] = Pipeline._execute_transaction
    lost: list[bool] = []

    def executes_then_breaks(self: Pipeline, *args: object) -> object:
        outcome = real(self, *args)
        if not lost:
            lost.append(True)
            self.watching = True
            raise RedisConnectionError("connection reset after EXEC")
        return outcome

    monkeypatch.setattr(Pipeline, "_execute_transaction", executes_then_breaks)
    written = redis_store.update_job(job.id, attempt)
    changes = redis_store.changed_jobs(cursor)
    assert told(changes) == ((written,), (), False)
    assert changes.cursor == cursor + 1


def test_a_feed_in_which_nothing_changed_costs_one_round_trip(
    redis_store: RedisStore, redis_url: str
) -> None:
    for _ in range(50):
        redis_store.create_job(make_job())
    cursor = redis_store.changed_jobs(None).cursor

    with Redis.from_url(redis_url) as client:
        before = client.info("commandstats"), client.info("stats")["total_net_output_bytes"]
        redis_store.changed_jobs(cursor)
        after = client.info("commandstats"), client.info("stats")["total_net_output_bytes"]
        empty = client.info("stats")["total_net_output_bytes"] - after[1]
    calls = {
        name: count["calls"] - before[0].get(name, {"calls": 0})["calls"]
        for name, count in after[0].items()
    }
    assert calls["cmdstat_evalsha"] == 1
    assert calls.get("cmdstat_get", 0) == 1
    assert after[1] - before[1] - empty < 5000


def test_the_feed_in_redis_is_bounded(forgetful: Store, request: pytest.FixtureRequest) -> None:
    for _ in range(10):
        forgetful.create_job(make_job())
    if isinstance(forgetful, RedisStore):
        with Redis.from_url(request.getfixturevalue("redis_url")) as client:
            assert client.zcard(keys.CHANGED) == 3
