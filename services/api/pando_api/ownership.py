"""Objects of one tenant. Another tenant's object and a missing one give the same answer."""

from __future__ import annotations

from pando_shared.errors import NotFound
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job
from pando_shared.store import ForecastStore, JobStore


def own_job(store: JobStore, tenant: str, job_id: str) -> Job:
    """Raises NotFound, also for another tenant's job."""
    try:
        job = store.get_job(job_id)
    except NotFound:
        raise _no_job(job_id) from None
    if job.spec.tenant != tenant:
        raise _no_job(job_id)
    return job


def own_foreseen_job(store: ForecastStore, tenant: str, job_id: str) -> tuple[Job, Forecast | None]:
    """The job, and what the scheduler foresees for it. Raises NotFound as `own_job` does."""
    try:
        job, forecast = store.foreseen_job(job_id)
    except NotFound:
        raise _no_job(job_id) from None
    if job.spec.tenant != tenant:
        raise _no_job(job_id)
    return job, forecast


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"no fine-tuning job {job_id!r}", param="fine_tuning_job_id")
