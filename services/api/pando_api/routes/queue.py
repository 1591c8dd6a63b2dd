"""/v1/queue: where your jobs stand in line, and why."""

from __future__ import annotations

import math

from fastapi import APIRouter

from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.schemas.cluster import Queue, QueuedJob
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job, JobState

router = APIRouter(prefix="/v1/queue", tags=["cluster"])


@router.get("")
def show_queue(services: ServicesDep, tenant: TenantDep) -> Queue:
    queued = services.store.jobs_in(JobState.QUEUED)
    own = [job for job in queued if job.spec.tenant == tenant]
    now = services.clock.now()
    forecasts = services.store.forecasts([job.id for job in own])
    data = [_view(job, found, now) for job, found in zip(own, forecasts, strict=True)]
    data.sort(key=lambda entry: (_last_if_unknown(entry.position), entry.created_at, entry.id))
    return Queue(depth=len(queued), data=data)


def _last_if_unknown(position: int | None) -> float:
    return math.inf if position is None else position


def _view(job: Job, forecast: Forecast | None, now: float) -> QueuedJob:
    starts_at = forecast.starts_at if forecast is not None else None
    return QueuedJob(
        id=job.id,
        position=forecast.position if forecast is not None else None,
        model=job.spec.model,
        method=job.spec.adapter.type,
        priority=job.spec.priority,
        created_at=int(job.created_at),
        waiting_seconds=max(0.0, now - job.waits_since),
        predicted_peak_bytes=job.predicted_peak_bytes,
        predicted_host_bytes=job.predicted_host_bytes,
        blocked_reason=forecast.reason if forecast is not None else None,
        estimated_start=None if starts_at is None else int(starts_at),
    )
