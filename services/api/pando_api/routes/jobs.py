"""/v1/fine_tuning/jobs: create, list, retrieve, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from pando_api.answers import QUOTA
from pando_api.dependencies import OwnJobDep, ServicesDep, TenantDep
from pando_api.job_listing import matching_jobs, metadata_filter
from pando_api.job_spec import job_spec
from pando_api.job_view import view, view_many, view_one
from pando_api.ownership import own_foreseen_job
from pando_api.paging import first_page
from pando_api.schemas.job_create import JobCreate
from pando_api.schemas.job_object import JobObject
from pando_api.schemas.paging import After, Page
from pando_api.services import Services
from pando_api.site import read_site
from pando_api.submission import submit_job
from pando_shared import lifecycle
from pando_shared.errors import IllegalTransition
from pando_shared.jobs import Job, JobState
from pando_shared.log_context import add_to_log_context
from pando_shared.records import Event
from pando_shared.store import Change

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])


@router.post("", responses=QUOTA)
def create_job(
    body: JobCreate,
    services: ServicesDep,
    tenant: TenantDep,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    x_stainless_retry_count: Annotated[int, Header(ge=0)] = 0,
) -> JobObject:
    """Start a job. Its data is validated next; a broken file fails the job, not this request."""
    spec = job_spec(services, read_site(services), tenant, body)
    job = submit_job(
        services,
        spec,
        idempotency_key=idempotency_key,
        is_retry=x_stainless_retry_count > 0,
    )
    return view_one(services.store, job)


@router.get("")
def list_jobs(
    request: Request,
    services: ServicesDep,
    tenant: TenantDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Page[JobObject]:
    """Your jobs, newest first. `metadata[k]=v` keeps those that carry the pair."""
    matches = metadata_filter(request.query_params)
    wanted = limit + 1
    jobs = islice(matching_jobs(services.store, tenant, after, matches, wanted), wanted)
    return first_page(view_many(services.store, jobs), limit)


@router.get("/{job_id}")
def retrieve_job(job_id: str, services: ServicesDep, tenant: TenantDep) -> JobObject:
    # Clients ask this all the time: one question to the store, and no dependency's thread.
    job, forecast = own_foreseen_job(services.store, tenant, job_id)
    add_to_log_context(job_id=job.id)
    return view(job, forecast)


@router.post("/{job_id}/cancel")
def cancel_job(job: OwnJobDep, services: ServicesDep) -> JobObject:
    """End a job for good, at once. A job that has ended already is a 400."""

    def cancelled(job: Job, now: float) -> Job:
        return replace(job.to(JobState.CANCELLED), epoch=job.epoch + 1, finished_at=now)

    return _change(services, job, cancelled, "Fine-tuning job cancelled")


@router.post("/{job_id}/pause")
def pause_job(job: OwnJobDep, services: ServicesDep) -> JobObject:
    """Take a job off its worker after a checkpoint, until it is resumed."""
    return _change(services, job, lambda job, _: job.to(JobState.PAUSED), "Fine-tuning job paused")


@router.post("/{job_id}/resume")
def resume_job(job: OwnJobDep, services: ServicesDep) -> JobObject:
    """Queue a paused job again; it goes on exactly where it stopped."""

    def resumed(job: Job, now: float) -> Job:
        # Others may queue jobs of other states; for a client it would skip preparation or a lease.
        if job.state is not JobState.PAUSED:
            raise IllegalTransition(
                f"job {job.id} is {job.state.value}; only a paused job can be resumed"
            )
        # It begins to wait anew: pausing must not keep a place in the queue.
        return replace(job.to(JobState.QUEUED), queued_at=now, waited_seconds=0.0)

    return _change(services, job, resumed, "Fine-tuning job resumed")


def _change(
    services: Services, job: Job, change: Callable[[Job, float], Job], message: str
) -> JobObject:
    now = services.clock.now()
    changed = lifecycle.transition(
        services.store,
        services.storage,
        job.id,
        lambda job: Change(change(job, now), events=(Event(now, message),)),
    )
    return view_one(services.store, changed)
