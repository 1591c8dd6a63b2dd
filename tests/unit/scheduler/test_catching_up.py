"""A change that storage did not take reaches it later."""

from __future__ import annotations

import errno

import pytest
from factories import make_job

from pando_scheduler.catching_up import LOOK_SECONDS, CatchingUp
from pando_shared import layout, lifecycle
from pando_shared.clock import FakeClock
from pando_shared.codec import decode
from pando_shared.jobs import Job, JobState
from pando_shared.storage import Storage
from pando_shared.store import Store


@pytest.fixture
def job(store: Store, storage: Storage) -> Job:
    """Cancelled in the store, and queued in storage."""
    job = make_job()
    lifecycle.submit(store, storage, job)
    return store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))


def recorded(storage: Storage, job: Job) -> JobState:
    return decode(Job, storage.read(layout.job_record(job.id))).state


def test_it_is_written_at_the_second_look(
    store: Store, storage: Storage, clock: FakeClock, job: Job
) -> None:
    """At the first, whoever changed the job may be about to."""
    catching_up = CatchingUp(store, storage)
    catching_up.look(clock.now())
    catching_up.look(clock.now())
    assert recorded(storage, job) is JobState.QUEUED
    clock.advance(LOOK_SECONDS)
    catching_up.look(clock.now())
    assert recorded(storage, job) is JobState.CANCELLED
    assert store.unrecorded() == []


def test_a_storage_that_still_fails_is_asked_again(
    store: Store, storage: Storage, clock: FakeClock, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    catching_up = CatchingUp(store, storage)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write", refuse)
        for _ in range(3):
            catching_up.look(clock.now())
            clock.advance(LOOK_SECONDS)
    assert recorded(storage, job) is JobState.QUEUED
    catching_up.look(clock.now())
    assert recorded(storage, job) is JobState.CANCELLED
