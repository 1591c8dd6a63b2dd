"""/v1/models: base models and your adapters; an adapter's files as one archive."""

from __future__ import annotations

import re
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from pando_api.answers import LONG, body_of
from pando_api.archives import tar_stream, zip_stream
from pando_api.dependencies import HOLD_A_STREAM, ServicesDep, TenantDep
from pando_api.model_lookup import find_model
from pando_api.schemas.models import ModelDeleted, ModelList, ModelObject
from pando_api.services import Services
from pando_api.streamed_bytes import StreamedBytes
from pando_shared import layout
from pando_shared.catalogue import BaseModel
from pando_shared.errors import InvalidRequest
from pando_shared.records import ModelRecord

router = APIRouter(prefix="/v1/models", tags=["models"])

_CHECKPOINT = re.compile(r":ckpt-step-(\d+)$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@router.get("")
def list_models(services: ServicesDep, tenant: TenantDep) -> ModelList:
    """The bases first, then your adapters, newest first."""
    bases = [ModelObject.of_base(b, services.started_at) for b in services.catalogue.values()]
    adapters = [ModelObject.of_adapter(record) for record in services.store.list_models(tenant)]
    return ModelList(data=bases + adapters)


# Names hold colons and may hold slashes, so this route must come before the plain name.
@router.get(
    "/{model:path}/content",
    response_class=StreamingResponse,
    responses=body_of("application/x-tar", "application/zip") | LONG,
    dependencies=[HOLD_A_STREAM],
)
def download_model(
    model: str,
    services: ServicesDep,
    tenant: TenantDep,
    format: Literal["tar", "zip"] = "tar",  # noqa: A002 - the name on the wire
) -> StreamedBytes:
    """An adapter's folder as PEFT and vLLM load it (MEFT: as Pando's loader does)."""
    record = _own_adapter(services, tenant, model)
    if format == "tar":
        body = tar_stream(services.storage, record.path, record.created_at)
        media_type = "application/x-tar"
    else:
        body = zip_stream(services.storage, record.path)
        media_type = "application/zip"
    filename = f"{_UNSAFE.sub('-', record.name)}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamedBytes(body, media_type=media_type, headers=headers)


@router.get("/{model:path}")
def retrieve_model(model: str, services: ServicesDep, tenant: TenantDep) -> ModelObject:
    found = find_model(services, tenant, model)
    if isinstance(found, BaseModel):
        return ModelObject.of_base(found, services.started_at)
    return ModelObject.of_adapter(found)


@router.delete("/{model:path}")
def delete_model(model: str, services: ServicesDep, tenant: TenantDep) -> ModelDeleted:
    """Remove an adapter and its files for good. Bases cannot be deleted."""
    record = _own_adapter(services, tenant, model)
    checkpoint = _CHECKPOINT.search(record.name)
    step = int(checkpoint[1]) if checkpoint else None
    # The durable record goes first, so that `pando recover` cannot bring a deleted model back.
    services.storage.delete(layout.model_record(record.job_id, step))
    services.store.delete_model(tenant, record.name)
    services.storage.delete(record.path)
    return ModelDeleted(id=record.name)


def _own_adapter(services: Services, tenant: str, name: str) -> ModelRecord:
    found = find_model(services, tenant, name)
    if isinstance(found, BaseModel):
        raise InvalidRequest(
            f"{name!r} is a base model; only adapters can be downloaded or deleted", param="model"
        )
    return found
