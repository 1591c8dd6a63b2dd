"""/v1/queue: where your jobs stand in line, and why."""

from __future__ import annotations

from fastapi import APIRouter

from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.job_view import in_order
from pando_api.schemas.cluster import Queue, QueuedJob
from pando_shared.jobs import Job, JobState

router = APIRouter(prefix="/v1/queue", tags=["cluster"])


@router.get("")
def show_queue(services: ServicesDep, tenant: TenantDep) -> Queue:
    queued = in_order(services.store.jobs_in(JobState.QUEUED))
    now = services.clock.now()
    own = [
        _view(job, position, now)
        for position, job in enumerate(queued, 1)
        if job.spec.tenant == tenant
    ]
    return Queue(depth=len(queued), data=own)


def _view(job: Job, position: int, now: float) -> QueuedJob:
    return QueuedJob(
        id=job.id,
        position=position,
        model=job.spec.model,
        method=job.spec.adapter.type,
        priority=job.spec.priority,
        created_at=int(job.created_at),
        waiting_seconds=max(0.0, now - (job.queued_at or job.created_at)),
        predicted_peak_bytes=job.predicted_peak_bytes,
        predicted_host_bytes=job.predicted_host_bytes,
        blocked_reason=job.blocked_reason,
    )
