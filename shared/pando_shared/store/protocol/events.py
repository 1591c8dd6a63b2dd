"""What happened to jobs, until storage has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pando_shared.records import Event
from pando_shared.store.values import Told


class EventStore(Protocol):
    """The part of `Store` that knows what happened to jobs."""

    def append_events(self, job_id: str, events: Iterable[Event], epoch: int | None = None) -> None:
        """Add to a job's history. With `epoch`, raises StaleEpoch unless it is still the job's.

        Raises NotFound.
        """
        ...

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        """Events with `start` <= `seq` < `start` + `limit`, oldest first, but for those that are in
        storage alone; `history.History` reads those too."""
        ...

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        """Events with `seq` below the given one (None: all), newest first, but for those that are
        in storage alone; `history.History` reads those too."""
        ...

    def told(self, job_ids: Sequence[str]) -> list[Told]:
        """How far each job is, in one look: what ended a job is among its events."""
        ...

    def events_stored(self, job_id: str) -> int:
        """How many of a job's first events are in storage alone."""
        ...

    def trim_events(self, job_id: str, start: int, end: int) -> bool:
        """Forget the events with `start` <= `seq` < `end`, which storage has. False, and nothing
        happens, unless they are all here and the oldest here."""
        ...

    def ended_with_events(self) -> list[str]:
        """Ids of the ended jobs that may have events here, sorted."""
        ...
