"""A job's history reads as one, wherever it lies."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest
from factories import make_job
from redis import Redis

from pando_shared import history, layout, lifecycle
from pando_shared.clock import FakeClock
from pando_shared.history import History, count_stored, move_to_storage
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.recovery import recover
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.stub import StubStore

WHOLE = [Event(float(n), f"event {n}", data={"step": n}, seq=n) for n in range(9)]


@pytest.fixture
def job_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """An ended job of nine events; parts are of four."""
    monkeypatch.setattr(history, "PART_EVENTS", 4)
    job = store.create_job(make_job())
    store.append_events(job.id, WHOLE)
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    return job.id


@pytest.mark.parametrize("moves", range(4))
def test_pages_do_not_tell_where_events_lie(
    store: Store, storage: Storage, job_id: str, moves: int
) -> None:
    for _ in range(moves):
        move_to_storage(store, storage, job_id)
    assert len(store.events(job_id)) == max(0, 9 - 4 * moves)
    read = History(store, storage)
    for limit in (1, 3, 5, 20):
        for seq in range(11):
            assert read.events(job_id, start=seq, limit=limit) == WHOLE[seq : seq + limit]
            older = WHOLE[:seq][::-1][:limit]
            assert read.events_before(job_id, seq=seq, limit=limit) == older
        assert read.events_before(job_id, limit=limit) == WHOLE[::-1][:limit]


def test_what_is_said_after_the_move_comes_behind(
    store: Store, storage: Storage, job_id: str
) -> None:
    late = Event(10.0, "late")
    for _ in range(3):
        move_to_storage(store, storage, job_id)
    store.append_events(job_id, [late])
    assert store.ended_with_events() == [job_id]
    whole = [*WHOLE, replace(late, seq=9)]
    for _ in range(2):
        assert History(store, storage).events(job_id) == whole
        move_to_storage(store, storage, job_id)
    assert store.ended_with_events() == []


def test_a_crash_between_writing_and_forgetting_doubles_nothing(
    store: Store, storage: Storage, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "trim_events", lambda *_: False)
        move_to_storage(store, storage, job_id)
    # The next writes a part of another length, so that two overlap.
    monkeypatch.setattr(history, "PART_EVENTS", 6)
    move_to_storage(store, storage, job_id)
    move_to_storage(store, storage, job_id)
    assert len(storage.names(layout.events(job_id))) == 3
    assert store.events(job_id) == []
    assert History(store, storage).events(job_id) == WHOLE


def test_a_storage_that_fails_loses_nothing(
    store: Store, storage: Storage, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        move_to_storage(store, storage, job_id)
    assert store.events(job_id) == WHOLE


@pytest.mark.parametrize("read", ["events", "events_before"])
def test_a_move_between_two_looks_of_a_reader_hides_nothing(
    store: Store, storage: Storage, job_id: str, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    look: Callable[..., list[Event]] = getattr(store, read)

    def overtaken(*args: object, **kwargs: object) -> list[Event]:
        found = look(*args, **kwargs)
        with monkeypatch.context() as patch:
            patch.setattr(store, read, look)
            move_to_storage(store, storage, job_id)
        return found

    move_to_storage(store, storage, job_id)
    monkeypatch.setattr(store, read, overtaken)
    found = getattr(History(store, storage), read)(job_id, limit=20)
    assert sorted(found, key=lambda event: event.seq) == WHOLE


def test_the_history_outlives_the_store(storage: Storage, clock: FakeClock) -> None:
    lost = StubStore(clock)
    job = make_job()
    lifecycle.submit(lost, storage, job)
    lost.append_events(job.id, WHOLE)
    lifecycle.transition(lost, storage, job.id, lambda job: job.to(JobState.CANCELLED))
    move_to_storage(lost, storage, job.id)
    assert count_stored(storage, job.id) == 9
    store = StubStore(clock)
    recover(store, storage, clock.now())
    store.append_events(job.id, [Event(10.0, "late")])
    read = History(store, storage)
    assert read.events(job.id) == [*WHOLE, Event(10.0, "late", seq=9)]
    assert read.events_before(job.id, seq=9) == WHOLE[::-1]


def test_an_ended_job_takes_the_same_memory_whatever_its_steps(
    redis_url: str, storage: Storage, clock: FakeClock
) -> None:
    store = RedisStore(redis_url, clock)
    sizes = []
    with Redis.from_url(redis_url) as client:
        for steps in (10, 1000):
            client.flushall()
            job = store.create_job(make_job("ftjob-1"))
            store.append_events(job.id, [Event(1.0, f"Step {step}") for step in range(steps)])
            store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
            move_to_storage(store, storage, job.id)
            kept = [key for key in client.scan_iter() if b":written:" not in key]
            sizes.append(sum(client.memory_usage(key) for key in kept))
    store.close()
    # An allocator rounds each value its own way; a byte a step would be 990.
    assert abs(sizes[1] - sizes[0]) <= 128
