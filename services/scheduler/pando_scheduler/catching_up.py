"""Writing the records of jobs that storage did not take when they changed."""

from __future__ import annotations

import logging

from pando_shared import lifecycle
from pando_shared.storage import Storage
from pando_shared.store import JobStore

log = logging.getLogger(__name__)

#: The time between two looks. Whoever changed a job writes its record well within it.
LOOK_SECONDS = 3.0


class CatchingUp:
    """Finds jobs whose change is in the store and not in storage: a rebuilt store would know only
    what storage says, and train what has ended once more."""

    def __init__(self, store: JobStore, storage: Storage):
        self._store, self._storage = store, storage
        self._behind: set[str] = set()
        self._looked_at = float("-inf")

    def look(self, now: float) -> None:
        """Record the jobs that were behind at the last look, and still are."""
        if 0 <= now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        behind = set(self._store.unrecorded())
        late, self._behind = behind & self._behind, behind
        for job in self._store.get_jobs(sorted(late)):
            if job is None:
                continue
            log.warning("storage is behind on job %s, which is %s", job.id, job.state.value)
            try:
                lifecycle.record(self._store, self._storage, job)
            except OSError as error:
                log.warning("storage fails; trying again later: %s", error)
                return
