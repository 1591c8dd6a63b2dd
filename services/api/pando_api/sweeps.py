"""Creating a sweep once, and finding it again by its trials' group.

A sweep has no record of its own: it is what its trials say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pando_api.job_listing import matching_jobs
from pando_api.repetition import key_reused, made_before
from pando_api.services import Services
from pando_api.sweep_grid import values_of
from pando_shared import lifecycle
from pando_shared.errors import NotFound
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobSpec
from pando_shared.records import Event
from pando_shared.store import JobStore, NewJob
from pando_shared.store.order import newest_first
from pando_shared.tracing import current_traceparent

_PREFIX = "sweep"


def submit_sweep(
    services: Services, specs: Sequence[JobSpec], *, idempotency_key: str | None, is_retry: bool
) -> list[Job]:
    """Keep the trials and wake `prepare`, or find those that this very request made before.

    A sweep is known again by its first trial: by the request's key, else, for a repetition, as the
    latest one like it. All trials are kept in one step, before any is prepared: a rung that is
    decided must not miss trials that are still to come.

    Raises:
        InvalidRequest: the key came before with a different request.
        JobQuotaExceeded: the tenant may not have so many jobs more now.
        StorageQuotaExceeded: it may keep no further adapter.
    """
    trials: list[Job] = []
    while not trials:
        made = _made_before(services, specs, idempotency_key, is_retry=is_retry)
        if made:
            return made
        # None are, where the same request came at the same moment and was faster: its are found.
        trials = _keep(services, specs, idempotency_key)
    for job in trials:
        services.store.append_events(job.id, _first_events(job, len(trials)))
    for job in trials:
        services.messenger.prepare(job.id)
    return trials


def _made_before(
    services: Services, specs: Sequence[JobSpec], idempotency_key: str | None, *, is_retry: bool
) -> list[Job]:
    """The trials of the sweep that this very request made when it came before.

    Raises:
        InvalidRequest: the key came before with a different request.
    """
    tenant = specs[0].tenant
    first = made_before(
        services,
        tenant,
        _first_key(idempotency_key),
        is_retry=is_retry,
        alike=lambda job: sweep_of(job) is not None and _ungrouped(job) == specs[0],
    )
    if first is None:
        return []
    trials = _trials(services.store, tenant, first.spec.group or "")
    if [_ungrouped(job) for job in trials] == list(specs):
        return trials
    if idempotency_key is None:
        return []
    raise key_reused(idempotency_key, f"sweep {first.spec.group or first.id}")


def _keep(services: Services, specs: Sequence[JobSpec], idempotency_key: str | None) -> list[Job]:
    """New trials; none if one of them has been made under its key before."""
    tenant, now, sweep_id = specs[0].tenant, services.clock.now(), new_id(_PREFIX)
    services.storage_quota.require_room(tenant, 1)
    most = services.job_quota.require_room(tenant, wanted=len(specs))
    jobs = [_new_trial(replace(spec, group=sweep_id), now) for spec in specs]
    new = [NewJob(jobs[0], _first_key(idempotency_key)), *(NewJob(job) for job in jobs[1:])]
    kept = lifecycle.submit_all(services.store, services.storage, new, most_live=most)
    return jobs if kept == jobs else []


def _first_key(idempotency_key: str | None) -> str | None:
    """That of a sweep's first trial; a job may be created with the request's own."""
    return None if idempotency_key is None else f"{idempotency_key}/sweep"


def trials_of(store: JobStore, tenant: str, sweep_id: str) -> list[Job]:
    """The trials of a sweep, in the grid's order.

    Raises:
        NotFound: the tenant has no such sweep.
    """
    found = _trials(store, tenant, sweep_id)
    if not found:
        raise NotFound(f"no sweep {sweep_id!r}", param="sweep_id")
    return found


def sweeps_behind(store: JobStore, tenant: str, after: str | None) -> Iterator[list[Job]]:
    """The trials of each of the tenant's sweeps, from behind sweep `after`, the newest sweep first:
    that whose latest trial is the newest. Reads no further than it is asked to go.

    Raises:
        NotFound: the tenant has no sweep `after`.
    """
    last: Job | None = None
    if after is not None:
        known = _trials(store, tenant, after)
        if not known:
            raise NotFound(f"no sweep {after!r} to go on from", param="after")
        last = newest_first(known)[0]
    seen = {after}
    behind = None if last is None else last.id
    for job in matching_jobs(store, tenant, behind, lambda job: sweep_of(job) is not None):
        sweep_id = job.spec.group
        if sweep_id is None or sweep_id in seen:
            continue
        seen.add(sweep_id)
        trials = _trials(store, tenant, sweep_id)
        # A sweep that was interrupted and made whole later has trials on both sides of `after`.
        if last is None or newest_first([last, *trials])[0].id == last.id:
            yield trials


def sweep_of(job: Job) -> str | None:
    """The id of the sweep that a job is a trial of."""
    group = job.spec.group
    if group is None or not group.startswith(f"{_PREFIX}-"):
        return None
    return group if values_of(job.spec.metadata) else None


def _trials(store: JobStore, tenant: str, sweep_id: str) -> list[Job]:
    jobs = store.jobs_of_group(tenant, sweep_id)
    return sorted((job for job in jobs if sweep_of(job) is not None), key=_number)


def _number(job: Job) -> tuple[int, str]:
    """A trial's place in the grid, which its suffix ends in."""
    number = (job.spec.suffix or "").rpartition("-")[2]
    return int(number) if number.isdecimal() else 0, job.id


def _ungrouped(job: Job) -> JobSpec:
    return replace(job.spec, group=None)


def _new_trial(spec: JobSpec, now: float) -> Job:
    return Job(new_id("ftjob"), spec, now, traceparent=current_traceparent())


def _first_events(job: Job, trials: int) -> list[Event]:
    number, _ = _number(job)
    return [
        Event(
            job.created_at,
            f"Created fine-tuning job: {job.id}, trial {number} of {trials} of {job.spec.group}",
        ),
        Event(job.created_at, f"Validating training file: {job.spec.training_file}"),
    ]
