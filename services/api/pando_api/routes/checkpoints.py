"""/v1/fine_tuning/jobs/{id}/checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from pando_api.dependencies import OwnJobDep, ServicesDep
from pando_api.paging import page_of
from pando_api.schemas.history import CheckpointObject
from pando_api.schemas.paging import After, Page

router = APIRouter(prefix="/v1/fine_tuning/jobs/{job_id}", tags=["fine-tuning"])


@router.get("/checkpoints")
def list_checkpoints(
    job: OwnJobDep,
    services: ServicesDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Page[CheckpointObject]:
    """Newest first. Each can be sampled from and downloaded by its name."""
    records = services.store.checkpoints(job.id)
    return page_of([CheckpointObject.of(record) for record in records], after=after, limit=limit)
