"""Creating a job once, however often the client has to ask."""

from __future__ import annotations

import logging

from pando_api.repetition import key_reused, made_before
from pando_api.services import Services
from pando_shared import lifecycle
from pando_shared.errors import Unavailable
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobSpec
from pando_shared.log_context import add_to_log_context
from pando_shared.records import Event
from pando_shared.store import NewJob
from pando_shared.tracing import current_traceparent

log = logging.getLogger(__name__)


def submit_job(
    services: Services, spec: JobSpec, *, idempotency_key: str | None, is_retry: bool
) -> Job:
    """Keep a new job and wake `prepare`, or find the job that this very request made before.

    Raises:
        InvalidRequest: the key came before with a different request.
        JobQuotaExceeded: the tenant may have no further job now; a repetition adds none.
        StorageQuotaExceeded: it may keep no further adapter.
    """
    job = Job(
        new_id("ftjob"),
        spec,
        created_at=services.clock.now(),
        traceparent=current_traceparent(),
    )
    kept = made_before(
        services,
        spec.tenant,
        idempotency_key,
        is_retry=is_retry,
        alike=lambda job: job.spec == spec,
    )
    if kept is None:
        services.storage_quota.require_room(spec.tenant, 1)
        most = services.job_quota.require_room(spec.tenant)
        new = [NewJob(job, idempotency_key)]
        (made,) = lifecycle.submit_all(services.store, services.storage, new, most_live=most)
        kept = made or job
    if kept.spec != spec:
        raise key_reused(idempotency_key, f"job {kept.id}")
    add_to_log_context(job_id=kept.id)
    if kept.id == job.id:
        _set_going(services, job)
    return kept


def _set_going(services: Services, job: Job) -> None:
    """The job is kept, and its user is told so whatever happens here: what is left undone, the
    scheduler notices."""
    try:
        services.store.append_events(job.id, _first_events(job))
        services.messenger.prepare(job.id)
    except Unavailable as error:
        log.warning("job %s is kept, and will be prepared later: %s", job.id, error)


def _first_events(job: Job) -> list[Event]:
    return [
        Event(job.created_at, f"Created fine-tuning job: {job.id}"),
        Event(job.created_at, f"Validating training file: {job.spec.training_file}"),
    ]
