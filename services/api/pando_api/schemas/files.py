"""Files on the wire."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel

from pando_api.schemas.paging import Listed
from pando_shared.records import FileRecord


class FileObject(Listed):
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    expires_at: int | None = None
    status_details: str | None = None

    @classmethod
    def of(cls, record: FileRecord) -> Self:
        return cls(
            id=record.id,
            bytes=record.bytes,
            created_at=int(record.created_at),
            filename=record.filename,
            purpose=record.purpose,
        )


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
