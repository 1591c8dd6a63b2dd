"""/v1/uploads: training data in parts, for files that one request may not carry to the end."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from pando_api import upload_completion, uploads
from pando_api.answers import STORAGE_QUOTA
from pando_api.dependencies import HOLD_A_STREAM, ServicesDep, TenantDep
from pando_api.schemas.uploads import (
    UploadComplete,
    UploadCreate,
    UploadObject,
    UploadPartObject,
)
from pando_api.upload_parts import receive_part

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

#: Not under the cap on bodies: the route counts for itself while it streams.
PART_PATH = re.compile(r"/v1/uploads/[^/]+/parts")

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post("", responses=STORAGE_QUOTA)
def create_upload(
    body: UploadCreate,
    services: ServicesDep,
    tenant: TenantDep,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> UploadObject:
    """Announce a file that will come in parts, within an hour."""
    return UploadObject.of(uploads.create_upload(services, tenant, body, idempotency_key))


@router.post(
    "/{upload_id}/parts",
    openapi_extra=_FORM,
    responses=STORAGE_QUOTA,
    dependencies=[HOLD_A_STREAM],
)
async def create_part(
    upload_id: str, request: Request, services: ServicesDep, tenant: TenantDep
) -> UploadPartObject:
    """Add a part of at most 64 MiB; in any order, also several at once."""
    return UploadPartObject.of(await receive_part(request, services, tenant, upload_id), upload_id)


@router.post("/{upload_id}/complete")
def complete_upload(
    upload_id: str, body: UploadComplete, services: ServicesDep, tenant: TenantDep
) -> UploadObject:
    """Make a file of the parts, in the order of `part_ids`."""
    return UploadObject.of(
        upload_completion.complete_upload(services, tenant, upload_id, body.part_ids, body.md5)
    )


@router.post("/{upload_id}/cancel")
def cancel_upload(upload_id: str, services: ServicesDep, tenant: TenantDep) -> UploadObject:
    """Drop the upload with all its parts. One that is completed or has expired is a 400."""
    return UploadObject.of(uploads.cancel_upload(services, tenant, upload_id))
