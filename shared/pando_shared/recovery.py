"""Rebuild what Redis held from what storage holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import ValidationError

from pando_shared import layout, lifecycle
from pando_shared.codec import decode
from pando_shared.errors import NotFound
from pando_shared.history import count_stored
from pando_shared.jobs import Job, JobState
from pando_shared.records import ApiKey, FileRecord, ModelRecord
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.webhooks import WebhookEndpoint

#: How far a recovered job's epoch jumps. A process may have died between the store's write and
#: storage's, so that a writer holds the epoch that follows the recorded one; it must stay shut out.
EPOCH_JUMP = 2

_Record = TypeVar("_Record")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was found in storage. `jobs` counts those the store lacked, `requeued` those of them
    that train again from their last checkpoint; `unreadable` are paths left alone."""

    jobs: int = 0
    requeued: int = 0
    files: int = 0
    models: int = 0
    keys: int = 0
    webhooks: int = 0
    unreadable: tuple[str, ...] = ()


def is_lost(store: Store, storage: Storage) -> bool:
    """Whether storage knows a job or a key that the store does not: the store lost something."""
    known = {f"{key.id}.json" for key in store.list_keys()}
    if not known.issuperset(storage.names("keys")):
        return True
    return None in store.get_jobs(storage.names("jobs"))


def recover(store: Store, storage: Storage, now: float) -> RecoveryReport:
    """Put back keys, files, models and jobs. What the store still has stays as it is.

    A job that was queued or running is queued; the epoch it comes back with shuts out whoever
    trained it. Can be run again, and while the cluster works.
    """
    unreadable: list[str] = []

    def records(cls: type[_Record], paths: Iterator[str]) -> Iterator[_Record]:
        for path in paths:
            try:
                yield decode(cls, storage.read(path))
            except NotFound:
                # A folder without its record was never handed out, or has just been deleted.
                continue
            except ValidationError as error:
                _log.warning("cannot read %s: %s", path, error)
                unreadable.append(path)

    keys = list(records(ApiKey, (f"keys/{name}" for name in storage.names("keys"))))
    files = list(records(FileRecord, map(layout.file_record, storage.names("files"))))
    models = list(records(ModelRecord, (f"models/{name}" for name in storage.names("models"))))
    webhooks = list(
        records(WebhookEndpoint, (f"webhooks/{name}" for name in storage.names("webhooks")))
    )
    for key in keys:
        store.put_key(key)
    for endpoint in webhooks:
        store.put_endpoint(endpoint)
    for file in files:
        store.put_file(file)
    for model in models:
        store.put_model(model)

    kept = requeued = 0
    for job in records(Job, map(layout.job_record, storage.names("jobs"))):
        recovered = _recovered(job, now)
        if not store.restore_job(recovered, count_stored(storage, job.id)):
            continue
        kept += 1
        if recovered is not job:
            lifecycle.record(store, storage, recovered)
            requeued += recovered.state is JobState.QUEUED
    return RecoveryReport(
        kept, requeued, len(files), len(models), len(keys), len(webhooks), tuple(unreadable)
    )


def _recovered(job: Job, now: float) -> Job:
    """The job as it may go on: held by nobody, and no earlier writer is let in."""
    if job.state in (JobState.RUNNING, JobState.QUEUED, JobState.PAUSED):
        state = JobState.PAUSED if job.state is JobState.PAUSED else JobState.QUEUED
        queued_at = now if state is JobState.QUEUED else job.queued_at
        epoch = job.epoch + EPOCH_JUMP
        return replace(job, state=state, epoch=epoch, lease=None, queued_at=queued_at)
    return job
