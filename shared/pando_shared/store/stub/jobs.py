"""Jobs and their checkpoints in memory."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from pando_shared.clock import Clock
from pando_shared.errors import JobQuotaExceeded, NotFound
from pando_shared.jobs import Job, JobState
from pando_shared.records import CheckpointRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.stub.changes import ChangeFeed
from pando_shared.store.stub.events import StubEvents
from pando_shared.store.stub.records import StubRecords
from pando_shared.store.stub.seen_keys import SeenKeys
from pando_shared.store.stub.signals import StubSignals
from pando_shared.store.stub.webhooks import StubWebhooks
from pando_shared.store.values import Change, JobChanges, NewJob
from pando_shared.webhooks import deliveries_of


class StubJobs(StubRecords, StubSignals, StubWebhooks, StubEvents):
    """The part of `StubStore` that knows jobs."""

    def __init__(self, lock: threading.RLock, clock: Clock, changes_kept: int):
        self._lock = lock
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        StubEvents.__init__(self, lock, self._jobs)
        self._job_keys = SeenKeys(clock)
        self._checkpoints: defaultdict[str, dict[str, CheckpointRecord]] = defaultdict(dict)
        self._unrecorded: set[str] = set()
        self._changes = ChangeFeed(changes_kept)

    def create_job(self, job: Job, idempotency_key: str | None = None) -> Job:
        return self.create_jobs([NewJob(job, idempotency_key)])[0] or job

    def create_jobs(
        self, new: Sequence[NewJob], *, most_live: int | None = None
    ) -> list[Job | None]:
        with self._lock:
            kept = [self._made_before(each) for each in new]
            if any(kept) or not new:
                return kept
            if most_live is not None:
                tenant = new[0].job.spec.tenant
                live = sum(self.count_live(tenant).values())
                if live + len(new) > most_live:
                    raise JobQuotaExceeded(tenant, live, most_live, len(new))
            for each in new:
                self._write(each.job)
                if each.idempotency_key is not None:
                    self._job_keys.remember(each.job.spec.tenant, each.idempotency_key, each.job.id)
            self.wake()
            return [each.job for each in new]

    def _made_before(self, new: NewJob) -> Job | None:
        if new.job.id in self._jobs:
            return self._jobs[new.job.id]
        if new.idempotency_key is None:
            return None
        return self.job_created_with(new.job.spec.tenant, new.idempotency_key)

    def job_created_with(self, tenant: str, idempotency_key: str) -> Job | None:
        with self._lock:
            return self._jobs.get(self._job_keys.made_with(tenant, idempotency_key) or "")

    def restore_job(self, job: Job, events_stored: int = 0) -> bool:
        with self._lock:
            if job.id in self._jobs:
                return False
            self._write(job)
            self._events_stored[job.id] = events_stored
            self.wake()
            return True

    def get_job(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"no such job: {job_id}")
            return self._jobs[job_id]

    def get_jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        with self._lock:
            return [self._jobs.get(job_id) for job_id in job_ids]

    def update_job(self, job_id: str, change: Callable[[Job], Job | Change]) -> Job:
        with self._lock:
            before = self.get_job(job_id)
            outcome = change(before)
            wanted = outcome if isinstance(outcome, Change) else Change(outcome)
            if wanted == Change(before):
                return before
            self._write(wanted.job)
            if _standing(wanted.job) != _standing(before):
                self._unrecorded.add(job_id)
            self._events[job_id].extend(wanted.events)
            ended = wanted.job.state.terminal and wanted.job.state is not before.state
            if ended or (wanted.job.state.terminal and wanted.events):
                self._ended_with_events.add(job_id)
            if wanted.model is not None:
                self.put_model(wanted.model)
            if wanted.checkpoint is not None:
                self._checkpoints[job_id][wanted.checkpoint.id] = wanted.checkpoint
            if wanted.job.state is not before.state:
                endpoints = self.list_endpoints(before.spec.tenant)
                self._deliver(deliveries_of(wanted.job, endpoints), due_at=0.0)
                self.wake()
            return wanted.job

    def unrecorded(self) -> list[str]:
        with self._lock:
            return sorted(self._unrecorded)

    def recorded(self, job: Job) -> None:
        with self._lock:
            if _standing(self._jobs[job.id]) == _standing(job):
                self._unrecorded.discard(job.id)

    def list_jobs(self, tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        if limit < 1:
            return []
        with self._lock:
            jobs = newest_first(job for job in self._jobs.values() if job.spec.tenant == tenant)
        places = {job.id: place for place, job in enumerate(jobs)}
        if after is None:
            return jobs[:limit]
        if after not in places:
            raise NotFound(f"no such job: {after}")
        first = places[after] + 1
        return jobs[first : first + limit]

    def jobs_in(self, *states: JobState) -> list[Job]:
        with self._lock:
            return oldest_first(job for job in self._jobs.values() if job.state in states)

    def jobs_of_group(self, tenant: str, group: str) -> list[Job]:
        with self._lock:
            return oldest_first(
                job
                for job in self._jobs.values()
                if (job.spec.tenant, job.spec.group) == (tenant, group)
            )

    def leased_jobs(self) -> list[Job]:
        with self._lock:
            return oldest_first(job for job in self._jobs.values() if job.lease is not None)

    def changed_jobs(self, since: int | None) -> JobChanges:
        with self._lock:
            written = self._changes.since(since)
            if written is None:
                found = [
                    job
                    for job in self._jobs.values()
                    if not job.state.terminal or job.lease is not None
                ]
            else:
                found = [self._jobs[job_id] for job_id in written]
            jobs = tuple(oldest_first(found))
            return JobChanges(jobs, (), self._changes.cursor, whole=written is None)

    def count_live(self, tenant: str) -> dict[JobState, int]:
        with self._lock:
            states = [job.state for job in self._jobs.values() if job.spec.tenant == tenant]
        return {state: states.count(state) for state in JobState if not state.terminal}

    def count_jobs(self) -> dict[JobState, int]:
        return {state: len(self.jobs_in(state)) for state in JobState}

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        with self._lock:
            return newest_first(self._checkpoints.get(job_id, {}).values())

    def _write(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._changes.mark(job.id)


def _standing(job: Job) -> tuple[JobState, int]:
    """What of a job storage must know."""
    return job.state, job.epoch
