"""A tenant's jobs, page by page, filtered by metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from starlette.datastructures import QueryParams

from pando_shared.jobs import Job
from pando_shared.store import JobStore

Matches = Callable[[Job], bool]

_BATCH = 100


def metadata_filter(params: QueryParams) -> Matches:
    """What `metadata[k]=v` (all must hold) or `metadata=null` (has none) asks for."""
    wanted = {
        name[len("metadata[") : -1]: value
        for name, value in params.multi_items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if not wanted and params.get("metadata") == "null":
        return lambda job: not job.spec.metadata
    return lambda job: all(job.spec.metadata.get(key) == value for key, value in wanted.items())


def matching_jobs(
    store: JobStore, tenant: str, after: str | None, matches: Matches, first: int = _BATCH
) -> Iterator[Job]:
    """The tenant's jobs that match, newest first, from behind job `after`.

    `first` is how many jobs are read at first; where all match, who wants no more reads no more.

    Raises:
        NotFound: the tenant has no job `after`.
    """
    size = first
    while batch := store.list_jobs(tenant, after=after, limit=size):
        yield from filter(matches, batch)
        after, size = batch[-1].id, _BATCH
