"""Events of ended jobs move to storage, a little at each pass."""

from __future__ import annotations

import errno

import pytest
from factories import make_job

from pando_scheduler.archiving import LOOK_SECONDS, Archiving
from pando_shared.clock import FakeClock
from pando_shared.history import History
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import Store


def ended(store: Store) -> str:
    job = store.create_job(make_job())
    store.append_events(job.id, [Event(1.0, "Step 1")])
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    return job.id


def look_twice(archiving: Archiving, clock: FakeClock) -> None:
    archiving.look(clock.now())
    clock.advance(LOOK_SECONDS)
    archiving.look(clock.now())


def test_an_ended_job_moves_at_the_second_look(
    store: Store, storage: Storage, clock: FakeClock
) -> None:
    live = store.create_job(make_job())
    store.append_events(live.id, [Event(1.0, "Step 1")])
    job_id = ended(store)
    archiving = Archiving(store, storage)
    archiving.look(clock.now())
    archiving.look(clock.now())
    assert len(store.events(job_id)) == 1
    clock.advance(LOOK_SECONDS)
    archiving.look(clock.now())
    assert store.events(job_id) == []
    assert [event.message for event in History(store, storage).events(job_id)] == ["Step 1"]
    assert len(store.events(live.id)) == 1


def test_a_pass_moves_one_job(store: Store, storage: Storage, clock: FakeClock) -> None:
    jobs = [ended(store) for _ in range(3)]
    archiving = Archiving(store, storage)
    look_twice(archiving, clock)
    assert len(store.ended_with_events()) == 2
    for _ in jobs:
        archiving.look(clock.now())
    assert store.ended_with_events() == []


def test_a_storage_that_fails_is_asked_again(
    store: Store, storage: Storage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    job_id = ended(store)
    archiving = Archiving(store, storage)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write", refuse)
        look_twice(archiving, clock)
    assert store.ended_with_events() == [job_id]
    clock.advance(LOOK_SECONDS)
    archiving.look(clock.now())
    assert store.ended_with_events() == []
