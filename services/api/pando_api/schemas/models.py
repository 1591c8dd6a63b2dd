"""Base models and adapters on the wire."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel

from pando_shared.catalogue import BaseModel as Base
from pando_shared.records import ModelRecord


class ModelObject(BaseModel):
    """A base (`parent` null) or an adapter trained on `parent`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    parent: str | None = None
    method: str | None = None
    job_id: str | None = None
    parameters: int | None = None
    max_positions: int | None = None

    @classmethod
    def of_base(cls, base: Base, created: float) -> Self:
        return cls(
            id=base.name,
            created=int(created),
            owned_by="pando",
            parameters=base.parameters,
            max_positions=base.max_positions,
        )

    @classmethod
    def of_adapter(cls, record: ModelRecord) -> Self:
        return cls(
            id=record.name,
            created=int(record.created_at),
            owned_by=record.tenant,
            parent=record.base_model,
            method=record.method,
            job_id=record.job_id,
        )


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(BaseModel):
    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
