"""Uploads and their parts on the wire."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from pando_api.schemas.files import FileObject
from pando_api.schemas.strict import StrictModel
from pando_shared.uploads import MAX_PARTS, Upload, UploadPart, UploadStatus


class UploadCreate(StrictModel):
    """`mime_type` is there for the protocol: as with POST /v1/files, the file's name decides."""

    bytes: int = Field(ge=1)
    filename: str
    mime_type: str = Field(max_length=255)
    purpose: str


class UploadComplete(StrictModel):
    part_ids: list[str] = Field(max_length=MAX_PARTS)
    md5: str | None = Field(None, pattern="^[0-9a-fA-F]{32}$")


class UploadObject(BaseModel):
    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: UploadStatus
    file: FileObject | None

    @classmethod
    def of(cls, upload: Upload) -> Self:
        completion = upload.completion
        return cls(
            id=upload.id,
            bytes=upload.bytes,
            created_at=int(upload.created_at),
            expires_at=int(upload.expires_at),
            filename=upload.filename,
            purpose=upload.purpose,
            status=upload.status,
            file=None if completion is None else FileObject.of(completion.file),
        )


class UploadPartObject(BaseModel):
    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str

    @classmethod
    def of(cls, part: UploadPart, upload_id: str) -> Self:
        return cls(id=part.id, created_at=int(part.created_at), upload_id=upload_id)
