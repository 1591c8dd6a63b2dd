"""State changes that must also outlive Redis: the store first, then `job.json` in storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from pando_shared import layout
from pando_shared.codec import encode
from pando_shared.errors import JobQuotaExceeded, Unavailable
from pando_shared.jobs import Job
from pando_shared.storage import Storage
from pando_shared.store import Change, JobStore, NewJob


def submit(store: JobStore, storage: Storage, job: Job, idempotency_key: str | None = None) -> Job:
    """Keep a new job; as `submit_all`."""
    return submit_all(store, storage, [NewJob(job, idempotency_key)])[0] or job


def submit_all(
    store: JobStore, storage: Storage, new: Sequence[NewJob], *, most_live: int | None = None
) -> list[Job | None]:
    """`store.create_jobs`, but in storage first: a job the user was told of is never lost.

    Raises:
        JobQuotaExceeded: as `create_jobs`.
        Unavailable: the store takes none; as far as is known, there are no such jobs.
    """
    try:
        for each in new:
            storage.write(layout.job_record(each.job.id), encode(each.job))
        kept = store.create_jobs(new, most_live=most_live)
    except (JobQuotaExceeded, Unavailable, OSError):
        # The user will hear that there is no job: nor may one be found when the store is rebuilt.
        with suppress(OSError):
            for each in new:
                storage.delete(layout.job(each.job.id))
        raise
    for each, job in zip(new, kept, strict=True):
        if job is None or job.id != each.job.id:
            storage.delete(layout.job(each.job.id))
    return kept


def transition(
    store: JobStore, storage: Storage, job_id: str, change: Callable[[Job], Job | Change]
) -> Job:
    """`store.update_job`, then the new record to storage.

    Raises what `change` raises, and NotFound.
    """
    job = store.update_job(job_id, change)
    record(store, storage, job)
    return job


def record(store: JobStore, storage: Storage, job: Job) -> None:
    """Write `job.json`, and again for as long as the job has moved on meanwhile.

    Two processes may write the records of two changes in the wrong order; whoever was overtaken
    finds the later state in the store and writes that. Where storage fails, the store remembers
    that it is behind, and the scheduler writes the record later.
    """
    while True:
        storage.write(layout.job_record(job.id), encode(job))
        current = store.get_jobs([job.id])[0]
        if current is None:
            return
        if (current.state, current.epoch) == (job.state, job.epoch):
            store.recorded(job)
            return
        job = current
