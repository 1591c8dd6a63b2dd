"""/v1/fine_tuning/sweeps: many jobs that differ in some knobs, of which the best is wanted."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query

from pando_api.answers import QUOTA
from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.paging import first_page
from pando_api.schemas.paging import After, Page
from pando_api.schemas.sweeps import SweepCreate, SweepObject
from pando_api.services import Services
from pando_api.site import read_site
from pando_api.sweep_spec import trial_specs
from pando_api.sweep_view import view_sweep
from pando_api.sweeps import submit_sweep, sweeps_behind, trials_of
from pando_shared import lifecycle
from pando_shared.errors import IllegalTransition
from pando_shared.jobs import Job, JobState
from pando_shared.records import Event
from pando_shared.store import Change

router = APIRouter(prefix="/v1/fine_tuning/sweeps", tags=["fine-tuning"])


@router.post("", responses=QUOTA)
def create_sweep(
    body: SweepCreate,
    services: ServicesDep,
    tenant: TenantDep,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    x_stainless_retry_count: Annotated[int, Header(ge=0)] = 0,
) -> SweepObject:
    """Start a job for each point of a grid. All are checked before any is created."""
    trials = submit_sweep(
        services,
        trial_specs(services, read_site(services), tenant, body),
        idempotency_key=idempotency_key,
        is_retry=x_stainless_retry_count > 0,
    )
    return view_sweep(trials)


@router.get("")
def list_sweeps(
    services: ServicesDep,
    tenant: TenantDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Page[SweepObject]:
    """Your sweeps, newest first."""
    found = islice(sweeps_behind(services.store, tenant, after), limit + 1)
    return first_page([view_sweep(trials) for trials in found], limit)


@router.get("/{sweep_id}")
def retrieve_sweep(sweep_id: str, services: ServicesDep, tenant: TenantDep) -> SweepObject:
    return view_sweep(trials_of(services.store, tenant, sweep_id))


@router.post("/{sweep_id}/cancel")
def cancel_sweep(sweep_id: str, services: ServicesDep, tenant: TenantDep) -> SweepObject:
    """End all trials that have not ended, for good. A sweep that has ended already is a 400."""
    trials = trials_of(services.store, tenant, sweep_id)
    if all(job.state.terminal for job in trials):
        raise IllegalTransition(f"all trials of sweep {sweep_id} have ended already")
    return view_sweep([_cancelled(services, job) for job in trials])


def _cancelled(services: Services, trial: Job) -> Job:
    now = services.clock.now()

    def cancel(job: Job) -> Change:
        if job.state.terminal:
            return Change(job)
        ended = replace(job.to(JobState.CANCELLED), epoch=job.epoch + 1, finished_at=now)
        return Change(ended, (Event(now, "Sweep cancelled"),))

    if trial.state.terminal:
        return trial
    return lifecycle.transition(services.store, services.storage, trial.id, cancel)
