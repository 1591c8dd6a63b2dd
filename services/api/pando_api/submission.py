"""Creating a job once, however often the client has to ask."""

from __future__ import annotations

from pando_api.services import Services
from pando_shared import lifecycle
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobSpec
from pando_shared.records import Event

#: A retry comes within the client's own patience (10 minutes by default) and its back-off.
RETRY_WINDOW_SECONDS = 900.0


def submit_job(
    services: Services, spec: JobSpec, *, idempotency_key: str | None, is_retry: bool
) -> Job:
    """Keep a new job and wake `prepare`, or find the job that this very request made before.

    The stock client repeats a create whose answer got lost and sends no key with it. So a
    repetition (`is_retry`) stands for the tenant's latest job of the same specification, if that
    is recent; an explicit key needs no such guess.

    Raises:
        InvalidRequest: the key came before with a different request.
        JobQuotaExceeded: the tenant may have no further job now; a repetition adds none.
    """
    job = Job(new_id("ftjob"), spec, created_at=services.clock.now())
    with services.job_quota.turn(spec.tenant):
        kept = _made_before(services, spec, idempotency_key, is_retry)
        if kept is None:
            services.job_quota.require_room(spec.tenant)
            kept = lifecycle.submit(services.store, services.storage, job, idempotency_key)
    if kept.spec != spec:
        raise InvalidRequest(
            f"Idempotency-Key {idempotency_key!r} was used for another request (job {kept.id})",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    if kept.id == job.id:
        services.store.append_events(job.id, _first_events(job))
        services.messenger.prepare(job.id)
    return kept


def _made_before(
    services: Services, spec: JobSpec, idempotency_key: str | None, is_retry: bool
) -> Job | None:
    if idempotency_key is not None:
        return services.store.job_created_with(spec.tenant, idempotency_key)
    return _recent_twin(services, spec) if is_retry else None


def _recent_twin(services: Services, spec: JobSpec) -> Job | None:
    oldest = services.clock.now() - RETRY_WINDOW_SECONDS
    for job in services.store.list_jobs(spec.tenant, limit=100):
        if job.created_at < oldest:
            return None
        if job.spec == spec:
            return job
    return None


def _first_events(job: Job) -> list[Event]:
    return [
        Event(job.created_at, f"Created fine-tuning job: {job.id}"),
        Event(job.created_at, f"Validating training file: {job.spec.training_file}"),
    ]
