"""/v1/files: training data in, results out."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import IO, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from pando_api.answers import LONG, STORAGE_QUOTA, body_of
from pando_api.dependencies import HOLD_A_STREAM, ServicesDep, TenantDep
from pando_api.file_upload import receive_file
from pando_api.kept_files import remove_file
from pando_api.paging import page_of
from pando_api.schemas.files import FileDeleted, FileObject
from pando_api.schemas.paging import After, Page
from pando_api.streamed_bytes import CHUNK_BYTES, StreamedBytes
from pando_shared import layout

router = APIRouter(prefix="/v1/files", tags=["files"])

#: Not under the cap on bodies: the route counts for itself while it streams.
UPLOAD_PATH = re.compile("/v1/files")

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "purpose": {"type": "string", "enum": ["fine-tune"]},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


@router.post("", openapi_extra=_FORM, responses=STORAGE_QUOTA, dependencies=[HOLD_A_STREAM])
async def create_file(
    request: Request,
    services: ServicesDep,
    tenant: TenantDep,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> FileObject:
    """Upload a JSON Lines file; it streams to storage."""
    return FileObject.of(await receive_file(request, services, tenant, idempotency_key))


@router.get("")
def list_files(
    services: ServicesDep,
    tenant: TenantDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Page[FileObject]:
    """Your files, newest first unless asked otherwise."""
    records = services.store.list_files(tenant)
    if order == "asc":
        records = records[::-1]
    objects = [FileObject.of(record) for record in records if purpose in (None, record.purpose)]
    return page_of(objects, after=after, limit=limit)


@router.get("/{file_id}")
def retrieve_file(file_id: str, services: ServicesDep, tenant: TenantDep) -> FileObject:
    return FileObject.of(services.store.get_file(tenant, file_id))


@router.delete("/{file_id}")
def delete_file(file_id: str, services: ServicesDep, tenant: TenantDep) -> FileDeleted:
    """Jobs past validation do not need it any more: they train on their own tokenised copy."""
    record = services.store.get_file(tenant, file_id)
    remove_file(services, record)
    return FileDeleted(id=record.id)


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses=body_of("application/octet-stream") | LONG,
    dependencies=[HOLD_A_STREAM],
)
def file_content(file_id: str, services: ServicesDep, tenant: TenantDep) -> StreamedBytes:
    """The bytes as they were uploaded, whatever the request's Accept header says."""
    record = services.store.get_file(tenant, file_id)
    stream = services.storage.reading(layout.file_content(record.id))
    name = quote(record.filename, safe="")
    return StreamedBytes(
        _chunks(stream),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(record.bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        },
    )


def _chunks(stream: IO[bytes]) -> Generator[bytes, None, None]:
    with stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
