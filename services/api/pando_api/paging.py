"""Cutting a list into pages."""

from __future__ import annotations

from collections.abc import Sequence

from pando_api.schemas.paging import Page, T
from pando_shared.errors import NotFound


def page_of(objects: Sequence[T], *, after: str | None, limit: int) -> Page[T]:
    """`limit` of `objects` from behind the one called `after`.

    Raises:
        NotFound: none is called `after`.
    """
    if after is not None:
        places = [place for place, item in enumerate(objects) if item.id == after]
        if not places:
            raise NotFound(f"no object {after!r} in this list to go on from", param="after")
        objects = objects[places[0] + 1 :]
    return first_page(objects, limit)


def first_page(objects: Sequence[T], limit: int) -> Page[T]:
    """The first `limit` of `objects`; any further one tells that there is more."""
    data = list(objects[:limit])
    return Page(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(objects) > limit,
    )
