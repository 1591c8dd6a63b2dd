"""The record in storage follows the store, whoever is overtaken."""

import errno

import pytest
from factories import make_job

from pando_shared import layout, lifecycle
from pando_shared.codec import decode
from pando_shared.errors import IllegalTransition, JobQuotaExceeded, Unavailable
from pando_shared.jobs import Job, JobState
from pando_shared.storage import Storage
from pando_shared.store import NewJob, Store
from pando_shared.store.stub import StubStore


def recorded(storage: Storage, job_id: str) -> Job:
    return decode(Job, storage.read(layout.job_record(job_id)))


def test_a_submitted_job_is_in_storage_and_store(storage: Storage) -> None:
    store, job = StubStore(), make_job()
    assert lifecycle.submit(store, storage, job) == job
    assert recorded(storage, job.id) == store.get_job(job.id) == job


def test_a_submission_seen_before_leaves_nothing_behind(storage: Storage) -> None:
    store, first, second = StubStore(), make_job(), make_job()
    lifecycle.submit(store, storage, first, "key")
    assert lifecycle.submit(store, storage, second, "key") == first
    assert storage.names("jobs") == [first.id]


def test_a_refused_transition_writes_nothing(storage: Storage) -> None:
    store, job = StubStore(), make_job()
    lifecycle.submit(store, storage, job)
    with pytest.raises(IllegalTransition):
        lifecycle.transition(store, storage, job.id, lambda job: job.to(JobState.SUCCEEDED))
    assert recorded(storage, job.id) == job


def test_a_record_that_was_overtaken_is_written_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, job = StubStore(), make_job()
    lifecycle.submit(store, storage, job)
    write = storage.write

    def is_overtaken(path: str, content: bytes) -> None:
        monkeypatch.setattr(storage, "write", write)
        # Between our change of the store and our record, another process cancels the job.
        lifecycle.transition(store, storage, job.id, lambda job: job.to(JobState.CANCELLED))
        write(path, content)

    monkeypatch.setattr(storage, "write", is_overtaken)
    lifecycle.transition(store, storage, job.id, lambda job: job.to(JobState.RUNNING))
    assert recorded(storage, job.id).state is JobState.CANCELLED


def test_a_job_lost_from_the_store_meanwhile_keeps_its_record(storage: Storage) -> None:
    job = make_job()
    lifecycle.record(StubStore(), storage, job)
    assert recorded(storage, job.id) == job


def test_a_submission_that_the_store_refuses_leaves_nothing_to_recover(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("Redis is away")

    store = StubStore()
    monkeypatch.setattr(store, "create_jobs", refuse)
    with pytest.raises(Unavailable):
        lifecycle.submit(store, storage, make_job())
    assert storage.names("jobs") == []


def test_jobs_that_are_too_many_leave_nothing_to_recover(storage: Storage) -> None:
    store, new = StubStore(), [NewJob(make_job()) for _ in range(3)]
    with pytest.raises(JobQuotaExceeded):
        lifecycle.submit_all(store, storage, new, most_live=2)
    assert storage.names("jobs") == []
    assert lifecycle.submit_all(store, storage, new, most_live=3) == [each.job for each in new]
    assert len(storage.names("jobs")) == 3


def test_nor_do_jobs_of_which_storage_takes_some(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, new, write = StubStore(), [NewJob(make_job()) for _ in range(3)], storage.write

    def fills_up(path: str, content: bytes) -> None:
        if path == layout.job_record(new[2].job.id):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(storage, "write", fills_up)
    with pytest.raises(OSError, match="No space"):
        lifecycle.submit_all(store, storage, new)
    assert storage.names("jobs") == store.list_jobs("acme") == []


def test_the_store_remembers_what_storage_did_not_take(
    store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    lifecycle.submit(store, storage, job)
    assert store.unrecorded() == []

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write", refuse)
        with pytest.raises(OSError, match="No space"):
            lifecycle.transition(store, storage, job.id, lambda job: job.to(JobState.CANCELLED))
    assert store.unrecorded() == [job.id]
    assert recorded(storage, job.id).state is job.state
    lifecycle.record(store, storage, store.get_job(job.id))
    assert store.unrecorded() == []
    assert recorded(storage, job.id).state is JobState.CANCELLED
