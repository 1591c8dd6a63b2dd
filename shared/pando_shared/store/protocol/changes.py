"""What has been written to jobs since a reader last asked."""

from __future__ import annotations

from typing import Protocol

from pando_shared.store.values import JobChanges


class JobChangeStore(Protocol):
    """The part of `Store` that knows which jobs have changed."""

    def changed_jobs(self, since: int | None) -> JobChanges:
        """What was written to jobs since a cursor that this store gave. None: everything live.

        Everything live comes also where the cursor is older than the feed remembers, or Redis has
        restarted since, and may have lost writes. Each reader has a cursor of its own.
        """
        ...
