"""What a route asks for by type: the services, and the tenant whose key came with the request."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pando_api.ownership import own_job
from pando_api.services import Services
from pando_shared.api_keys import digest
from pando_shared.errors import Unauthorized
from pando_shared.jobs import Job
from pando_shared.log_context import add_to_log_context

_bearer = HTTPBearer(auto_error=False, description="A key from `pando keys create`.")


def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_tenant(
    services: ServicesDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> str:
    """The tenant of the API key.

    The store is searched by the key's SHA-256, so how long the search takes tells nothing about
    the key; the last word is a comparison in constant time.

    Raises:
        Unauthorized: no key, an unknown one or a revoked one.
    """
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer KEY'")
    wanted = digest(credentials.credentials)
    key = services.store.find_key(wanted)
    if key is None or not hmac.compare_digest(key.digest, wanted):
        raise Unauthorized(
            "this API key is unknown or revoked; `pando keys create` makes a new one"
        )
    add_to_log_context(tenant=key.tenant)
    return key.tenant


TenantDep = Annotated[str, Depends(get_tenant)]


def get_own_job(job_id: str, services: ServicesDep, tenant: TenantDep) -> Job:
    """The job of the path, if it is this tenant's.

    Raises:
        NotFound: there is no such job, or it is another tenant's; the answers do not differ.
    """
    job = own_job(services.store, tenant, job_id)
    add_to_log_context(job_id=job.id)
    return job


OwnJobDep = Annotated[Job, Depends(get_own_job)]
