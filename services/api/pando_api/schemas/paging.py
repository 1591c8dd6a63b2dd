"""One page of a list. The stock client goes on while `has_more`, with `after` the last id."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel


class Listed(BaseModel):
    """An object that can stand in a list."""

    id: str


T = TypeVar("T", bound=Listed)

After = Annotated[str | None, Query(description="Id of the last object of the page before.")]


class Page(BaseModel, Generic[T]):
    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
