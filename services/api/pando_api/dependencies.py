"""What a route asks for by type: the services, and whose key came with the request."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pando_api.ownership import own_job
from pando_api.services import Services
from pando_shared.api_keys import digest
from pando_shared.errors import InsufficientScope, Unauthorized
from pando_shared.jobs import Job
from pando_shared.log_context import add_to_log_context
from pando_shared.records import ApiKey

_bearer = HTTPBearer(auto_error=False, description="A key from `pando keys create`.")
_SAFE_METHODS = frozenset({"GET", "HEAD"})
#: What changes nothing, though its question comes in a body.
_SAFE_POSTS = frozenset({"/v1/fine_tuning/estimate"})


# Not a plain function: for each of those, FastAPI goes to another thread and back.
async def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_key(
    request: Request,
    services: ServicesDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> ApiKey:
    """The API key of the request.

    The store is searched by the key's SHA-256, so how long the search takes tells nothing about
    the key; the last word is a comparison in constant time.

    Raises:
        Unauthorized: no key, or one that is unknown, revoked or past its time.
        TooManyFailedLogins: so are those that its address has sent before.
        InsufficientScope: the key only reads, and the request would change something.
        RateLimited: its tenant has made as many requests as it may make in a minute.
    """
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer KEY'")
    wanted = digest(credentials.credentials)
    key = services.store.find_key(wanted)
    if key is None or not hmac.compare_digest(key.digest, wanted):
        reason = "this API key is unknown or revoked; `pando keys create` makes a new one"
        raise services.failed_logins.refusal(request, reason)
    if not key.works_at(services.clock.now()):
        reason = "this API key has expired; `pando keys create` makes a new one"
        raise services.failed_logins.refusal(request, reason)
    add_to_log_context(tenant=key.tenant)
    request.state.headers = services.request_rate.take(key.tenant)
    if key.scope == "read-only" and not _only_reads(request):
        raise InsufficientScope(
            f"this API key is read-only, and {request.method} {request.url.path} needs one of "
            "scope user; `pando keys create --scope user` makes one"
        )
    return key


def _only_reads(request: Request) -> bool:
    return request.method in _SAFE_METHODS or request.url.path in _SAFE_POSTS


KeyDep = Annotated[ApiKey, Depends(get_key)]


async def get_tenant(key: KeyDep) -> str:
    """The tenant of the API key."""
    return key.tenant


async def require_admin(key: KeyDep) -> None:
    """Let only keys of scope admin pass.

    Raises:
        InsufficientScope: the key has another one.
    """
    if key.scope != "admin":
        raise InsufficientScope(
            f"this API key has scope {key.scope}, and this needs one of scope admin; "
            "`pando keys create --scope admin` makes one"
        )


TenantDep = Annotated[str, Depends(get_tenant)]


async def hold_a_stream(services: ServicesDep, tenant: TenantDep) -> AsyncIterator[None]:
    """Count the request among the tenant's long ones, until its answer has been sent.

    Raises:
        TooManyStreams: the tenant has as many as it may have.
    """
    with services.open_streams.one_more(tenant):
        yield


async def hold_if_streamed(
    services: ServicesDep, tenant: TenantDep, stream: bool = False
) -> AsyncIterator[None]:
    """The same where only `stream=true` takes long."""
    with services.open_streams.one_more(tenant) if stream else nullcontext():
        yield


#: For `dependencies` of a route.
HOLD_A_STREAM = Depends(hold_a_stream)
HOLD_IF_STREAMED = Depends(hold_if_streamed)


def get_own_job(job_id: str, services: ServicesDep, tenant: TenantDep) -> Job:
    """The job of the path, if it is this tenant's.

    Raises:
        NotFound: there is no such job, or it is another tenant's; the answers do not differ.
    """
    job = own_job(services.store, tenant, job_id)
    add_to_log_context(job_id=job.id)
    return job


OwnJobDep = Annotated[Job, Depends(get_own_job)]
