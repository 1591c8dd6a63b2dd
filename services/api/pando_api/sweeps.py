"""Creating a sweep once, and finding it again by its trials' group.

A sweep has no record of its own: it is what its trials say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pando_api.job_listing import matching_jobs
from pando_api.services import Services
from pando_api.submission import RETRY_WINDOW_SECONDS
from pando_api.sweep_grid import values_of
from pando_shared import lifecycle
from pando_shared.errors import InvalidRequest, NotFound
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobSpec
from pando_shared.records import Event
from pando_shared.store import Store

_PREFIX = "sweep"


def submit_sweep(
    services: Services, specs: Sequence[JobSpec], *, idempotency_key: str | None, is_retry: bool
) -> list[Job]:
    """Keep the trials and wake `prepare`, or find those that this very request made before.

    A sweep is known again by its first trial: by the request's key, else, for a repetition, as the
    latest one like it. Each further trial has a key of its own, so what was interrupted is made
    whole and nothing is made twice. None is prepared before all are kept: a rung that is decided
    must not miss trials that are still to come.

    Raises:
        InvalidRequest: the key came before with a different request.
        JobQuotaExceeded: the tenant may not have so many jobs more now.
    """
    tenant = specs[0].tenant
    with services.job_quota.turn(tenant):
        first = _made_before(services, specs[0], idempotency_key, is_retry)
        sweep_id = new_id(_PREFIX) if first is None else first.spec.group or ""
        keys = [f"{sweep_id}/{number}" for number in range(1, len(specs) + 1)]
        if idempotency_key is not None:
            keys[0] = _first_key(idempotency_key)
        wanted = [replace(spec, group=sweep_id) for spec in specs]
        found = [
            None if first is None else services.store.job_created_with(tenant, key) for key in keys
        ]
        for spec, job in zip(wanted, found, strict=True):
            if job is not None and job.spec != spec:
                raise InvalidRequest(
                    f"Idempotency-Key {idempotency_key!r} was used for another request "
                    f"(sweep {sweep_id or job.id})",
                    param="Idempotency-Key",
                    code="idempotency_key_reused",
                )
        if None in found:
            services.job_quota.require_room(tenant, wanted=found.count(None))
        now = services.clock.now()
        trials = [
            job or _keep(services, Job(new_id("ftjob"), spec, now), key)
            for spec, key, job in zip(wanted, keys, found, strict=True)
        ]
    made_before = {job.id for job in found if job is not None}
    fresh = [job for job in trials if job.id not in made_before]
    for job in fresh:
        services.store.append_events(job.id, _first_events(job, len(trials)))
    for job in fresh:
        services.messenger.prepare(job.id)
    return trials


def trials_of(store: Store, tenant: str, sweep_id: str) -> list[Job]:
    """The trials of a sweep, in the grid's order.

    Raises:
        NotFound: the tenant has no such sweep.
    """
    found = [job for job in store.jobs_of_group(tenant, sweep_id) if sweep_of(job) is not None]
    if not found:
        raise NotFound(f"no sweep {sweep_id!r}", param="sweep_id")
    return sorted(found, key=_number)


def all_sweeps(store: Store, tenant: str) -> list[list[Job]]:
    """The trials of each of the tenant's sweeps, the newest sweep first."""
    return list(_by_sweep(store, tenant).values())


def sweep_of(job: Job) -> str | None:
    """The id of the sweep that a job is a trial of."""
    group = job.spec.group
    if group is None or not group.startswith(f"{_PREFIX}-"):
        return None
    return group if values_of(job.spec.metadata) else None


def _by_sweep(store: Store, tenant: str) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in matching_jobs(store, tenant, None, lambda job: sweep_of(job) is not None):
        found.setdefault(job.spec.group or "", []).append(job)
    return {sweep_id: sorted(jobs, key=_number) for sweep_id, jobs in found.items()}


def _number(job: Job) -> tuple[int, str]:
    """A trial's place in the grid, which its suffix ends in."""
    number = (job.spec.suffix or "").rpartition("-")[2]
    return int(number) if number.isdecimal() else 0, job.id


def _first_key(idempotency_key: str) -> str:
    return f"{idempotency_key}/sweep"


def _made_before(
    services: Services, spec: JobSpec, idempotency_key: str | None, is_retry: bool
) -> Job | None:
    """The first trial of the sweep that this request made before."""
    if idempotency_key is not None:
        return services.store.job_created_with(spec.tenant, _first_key(idempotency_key))
    return _recent_twin(services, spec) if is_retry else None


def _recent_twin(services: Services, spec: JobSpec) -> Job | None:
    oldest = services.clock.now() - RETRY_WINDOW_SECONDS
    for job in matching_jobs(services.store, spec.tenant, None, lambda job: True):
        if job.created_at < oldest:
            return None
        if sweep_of(job) is not None and job.spec == replace(spec, group=job.spec.group):
            return job
    return None


def _keep(services: Services, job: Job, key: str) -> Job:
    return lifecycle.submit(services.store, services.storage, job, key)


def _first_events(job: Job, trials: int) -> list[Event]:
    number, _ = _number(job)
    return [
        Event(
            job.created_at,
            f"Created fine-tuning job: {job.id}, trial {number} of {trials} of {job.spec.group}",
        ),
        Event(job.created_at, f"Validating training file: {job.spec.training_file}"),
    ]
