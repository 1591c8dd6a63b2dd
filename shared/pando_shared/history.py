"""All that happened to a job: what the store has of it, and what has moved to storage.

A live job's events are in the store. Once it has ended they move to storage, in parts that are
written before the store forgets what is in them, so that the store's memory does not grow with
the steps of jobs that are long over. Parts of a move that was cut short may overlap; they agree.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from pando_shared import layout
from pando_shared.codec import decode, encode
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import EventStore

log = logging.getLogger(__name__)

#: Events of one part, about half a megabyte: what reading a page of old events may cost.
PART_EVENTS = 2000

_PART = re.compile(r"(\d+)-(\d+)\.jsonl")


@dataclass(frozen=True, slots=True)
class _Part:
    """Events with `start` <= `seq` < `end`, one a line."""

    start: int
    end: int

    def path(self, job_id: str) -> str:
        return f"{layout.events(job_id)}/{self.start:010d}-{self.end:010d}.jsonl"


@dataclass(frozen=True, slots=True)
class History:
    """Reads jobs' events, wherever they are."""

    store: EventStore
    storage: Storage

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        """Events with `start` <= `seq` < `start` + `limit`, oldest first."""
        start = max(0, start)
        here = self.store.events(job_id, start=start, limit=limit)
        if here and here[0].seq == start:
            return here
        # Asked after the events: whatever was moved before that look is counted.
        stored = min(self.store.events_stored(job_id), start + limit)
        older = _read(self.storage, job_id, start, stored)
        return older + [event for event in here if event.seq >= stored]

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        """Events with `seq` below the given one (None: all), newest first."""
        here = self.store.events_before(job_id, seq=seq, limit=limit)
        if len(here) >= limit:
            return here
        if here:
            end = here[-1].seq
        else:
            stored = self.store.events_stored(job_id)
            end = stored if seq is None else min(seq, stored)
        start = max(0, end - (limit - len(here)))
        return here + _read(self.storage, job_id, start, end)[::-1]


def move_to_storage(store: EventStore, storage: Storage, job_id: str) -> None:
    """Move a job's oldest events, at most `PART_EVENTS`; can be cut short, and done again.

    Raises OSError where storage fails; nothing is forgotten then.
    """
    start = store.events_stored(job_id)
    events = store.events(job_id, start=start, limit=PART_EVENTS)
    part = _Part(start, start + len(events))
    if events:
        storage.write(part.path(job_id), b"".join(encode(event) + b"\n" for event in events))
    if not store.trim_events(job_id, part.start, part.end):
        log.info("another has moved the events of job %s meanwhile", job_id)


def count_stored(storage: Storage, job_id: str) -> int:
    """How many of a job's first events storage has."""
    return max((part.end for part in _parts(storage, job_id)), default=0)


def _parts(storage: Storage, job_id: str) -> list[_Part]:
    matches = map(_PART.fullmatch, storage.names(layout.events(job_id)))
    return [_Part(int(match[1]), int(match[2])) for match in matches if match]


def _read(storage: Storage, job_id: str, start: int, end: int) -> list[Event]:
    """Events with `start` <= `seq` < `end` that storage has, oldest first."""
    if end <= start:
        return []
    found: list[Event] = []
    for part in sorted(_parts(storage, job_id), key=lambda part: (part.start, -part.end)):
        if part.start < end and start < part.end:
            lines = storage.read(part.path(job_id)).splitlines()
            wanted = lines[max(0, start - part.start) : end - part.start]
            found += [decode(Event, line) for line in wanted]
            start = part.end
    return found
