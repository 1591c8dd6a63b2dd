"""Objects of one tenant. Another tenant's object and a missing one give the same answer."""

from __future__ import annotations

from pando_shared.errors import NotFound
from pando_shared.jobs import Job
from pando_shared.store import Store


def own_job(store: Store, tenant: str, job_id: str) -> Job:
    """Raises NotFound, also for another tenant's job."""
    try:
        job = store.get_job(job_id)
    except NotFound:
        job = None
    if job is None or job.spec.tenant != tenant:
        raise NotFound(f"no fine-tuning job {job_id!r}", param="fine_tuning_job_id")
    return job
