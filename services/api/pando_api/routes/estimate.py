"""/v1/fine_tuning/estimate: what a job would take, without creating it."""

from __future__ import annotations

from fastapi import APIRouter

from pando_api import estimation
from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.job_spec import job_spec
from pando_api.schemas.estimate import Estimate
from pando_api.schemas.job_create import JobCreate
from pando_api.site import read_site

router = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"])


@router.post("/estimate")
def estimate_job(body: JobCreate, services: ServicesDep, tenant: TenantDep) -> Estimate:
    """Takes the body of a create, refuses what a create would refuse, and creates nothing."""
    site = read_site(services)
    return estimation.estimate(services, site, job_spec(services, site, tenant, body))
