"""Moving the events of ended jobs from the store to storage."""

from __future__ import annotations

import logging

from pando_shared.history import move_to_storage
from pando_shared.storage import Storage
from pando_shared.store import EventStore

log = logging.getLogger(__name__)

#: The time between two looks for jobs that have ended. Long enough that Redis, which writes to its
#: disk each second, does not forget in a crash what has moved.
LOOK_SECONDS = 3.0


class Archiving:
    """Finds ended jobs that still have events in the store, whoever ended them."""

    def __init__(self, store: EventStore, storage: Storage):
        self._store, self._storage = store, storage
        self._found: set[str] = set()
        self._due: list[str] = []
        self._looked_at = float("-inf")

    def look(self, now: float) -> None:
        """Move one part of a job that was already found at the look before: no pass of the
        scheduler waits for more than one file."""
        if not 0 <= now - self._looked_at < LOOK_SECONDS:
            self._looked_at = now
            found = set(self._store.ended_with_events())
            self._due = sorted(found & self._found)
            self._found = found
        if not self._due:
            return
        try:
            move_to_storage(self._store, self._storage, self._due.pop())
        except OSError as error:
            log.warning("storage fails; moving events there later: %s", error)
            self._due = []
