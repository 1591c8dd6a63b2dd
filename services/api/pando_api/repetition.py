"""Knowing a request again that came before, so that what it made is not made twice."""

from __future__ import annotations

from itertools import takewhile

from pando_api.job_listing import Matches, matching_jobs
from pando_api.services import Services
from pando_shared.errors import InvalidRequest
from pando_shared.jobs import Job

#: A retry comes within the client's own patience (10 minutes by default) and its back-off.
_RETRY_WINDOW_SECONDS = 900.0


def made_before(
    services: Services, tenant: str, key: str | None, *, is_retry: bool, alike: Matches
) -> Job | None:
    """The job that this very request made when it came before.

    The stock client repeats a create whose answer got lost and sends no key with it. So a
    repetition (`is_retry`) stands for the tenant's latest job that is `alike`, if that is recent;
    an explicit key needs no such guess.
    """
    if key is not None:
        return services.store.job_created_with(tenant, key)
    if not is_retry:
        return None
    oldest = services.clock.now() - _RETRY_WINDOW_SECONDS
    jobs = matching_jobs(services.store, tenant, None, lambda job: True)
    return next(filter(alike, takewhile(lambda job: job.created_at >= oldest, jobs)), None)


def key_reused(idempotency_key: str | None, made: str) -> InvalidRequest:
    """`made` names what the key made before, of another request."""
    return InvalidRequest(
        f"Idempotency-Key {idempotency_key!r} was used for another request ({made})",
        param="Idempotency-Key",
        code="idempotency_key_reused",
    )
