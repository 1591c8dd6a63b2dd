"""Jobs, found by id, tenant, state or group, and how they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pando_shared.jobs import Job, JobState
from pando_shared.records import CheckpointRecord
from pando_shared.store.values import Change, NewJob


class JobStore(Protocol):
    """The part of `Store` that knows jobs and their checkpoints."""

    def create_job(self, job: Job, idempotency_key: str | None = None) -> Job:
        """Keep a new job. With a key seen before (within a day, same tenant), return that job.

        A job that is there already is returned as it is, so that creating can be repeated.
        """
        ...

    def create_jobs(
        self, new: Sequence[NewJob], *, most_live: int | None = None
    ) -> list[Job | None]:
        """`create_job` for jobs of one tenant, all of them or none: if any is there already, by its
        id or its key, only those are returned, with None for the others, and nothing is written.

        Raises JobQuotaExceeded, and nothing is written, if the tenant would then have more than
        `most_live` jobs that have not ended, whoever creates at the same time.
        """
        ...

    def job_created_with(self, tenant: str, idempotency_key: str) -> Job | None:
        """The job that a create with this key would return instead of a new one."""
        ...

    def restore_job(self, job: Job, events_stored: int = 0) -> bool:
        """Keep a job found in storage unless the store has it; tells whether it was kept.

        So many of its first events are in storage too; what is appended is numbered behind them.
        """
        ...

    def get_job(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def get_jobs(self, job_ids: Sequence[str]) -> list[Job | None]: ...

    def update_job(self, job_id: str, change: Callable[[Job], Job | Change]) -> Job:
        """Replace a job by `change(job)`, atomically. `change` may run several times.

        Whatever `change` raises (IllegalTransition, StaleEpoch, ...) passes through and nothing is
        written. Wakes the scheduler if the state changed. Raises NotFound.
        """
        ...

    def list_jobs(self, tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        """A tenant's jobs, newest first, from behind job `after`. Raises NotFound for `after`."""
        ...

    def jobs_in(self, *states: JobState) -> list[Job]:
        """All tenants' jobs in these states, oldest first."""
        ...

    def jobs_of_group(self, tenant: str, group: str) -> list[Job]:
        """A tenant's jobs of one group, ended ones too, oldest first."""
        ...

    def leased_jobs(self) -> list[Job]:
        """All jobs that hold a lease, whatever their state."""
        ...

    def count_live(self, tenant: str) -> dict[JobState, int]:
        """How many of a tenant's jobs are in each of the states that are not terminal."""
        ...

    def count_jobs(self) -> dict[JobState, int]: ...

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        """Newest first."""
        ...

    def unrecorded(self) -> list[str]:
        """Ids of the jobs whose state or epoch has changed since `recorded` was last told."""
        ...

    def recorded(self, job: Job) -> None:
        """Storage has the job as it is, unless its state or epoch has changed again meanwhile."""
        ...
