"""/v1/usage: what your tenant uses and may use; of all tenants, for keys of scope admin."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from pando_api.dependencies import ServicesDep, TenantDep, require_admin
from pando_api.schemas.tenant_usage import TenantUsage, TenantUsageList
from pando_api.tenant_usage import usage_of, usage_of_all

router = APIRouter(prefix="/v1/usage", tags=["cluster"])


@router.get("")
def show_usage(services: ServicesDep, tenant: TenantDep) -> TenantUsage:
    """Storage, jobs, requests and workers: how much of each, and the limits."""
    return usage_of(services, tenant)


@router.get("/tenants", dependencies=[Depends(require_admin)])
def list_usage(services: ServicesDep) -> TenantUsageList:
    """Every tenant's that has, or had, a key; needs a key of scope admin."""
    return TenantUsageList(data=usage_of_all(services))
