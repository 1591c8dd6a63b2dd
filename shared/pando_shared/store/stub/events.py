"""The events of jobs in memory, until storage has them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pando_shared.errors import NotFound, StaleEpoch
from pando_shared.jobs import Job
from pando_shared.records import Event
from pando_shared.store.values import Told


class StubEvents:
    """The part of `StubStore` that knows what happened to jobs."""

    def __init__(self, lock: threading.RLock, jobs: dict[str, Job]):
        self._lock = lock
        self._jobs = jobs
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        self._events_stored: defaultdict[str, int] = defaultdict(int)
        self._ended_with_events: set[str] = set()

    def append_events(self, job_id: str, events: Iterable[Event], epoch: int | None = None) -> None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise NotFound(f"no such job: {job_id}")
            if epoch is not None and epoch != job.epoch:
                raise StaleEpoch(f"job {job_id} is at epoch {job.epoch}, writer has {epoch}")
            added = list(events)
            self._events[job_id].extend(added)
            if added and job.state.terminal:
                self._ended_with_events.add(job_id)

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        end = start + limit
        return [event for event in self._numbered(job_id) if max(0, start) <= event.seq < end]

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        older = [e for e in self._numbered(job_id) if seq is None or e.seq < seq]
        return older[::-1][: max(0, limit)]

    def _numbered(self, job_id: str) -> list[Event]:
        with self._lock:
            stored, events = self._events_stored.get(job_id, 0), self._events.get(job_id, [])
            return [replace(event, seq=stored + place) for place, event in enumerate(events)]

    def told(self, job_ids: Sequence[str]) -> list[Told]:
        with self._lock:
            return [
                Told(
                    self._events_stored.get(job_id, 0) + len(self._events.get(job_id, [])),
                    job_id in self._jobs and self._jobs[job_id].state.terminal,
                )
                for job_id in job_ids
            ]

    def events_stored(self, job_id: str) -> int:
        with self._lock:
            return self._events_stored.get(job_id, 0)

    def trim_events(self, job_id: str, start: int, end: int) -> bool:
        with self._lock:
            stored, here = self._events_stored.get(job_id, 0), self._events.get(job_id, [])
            if start != stored or not start <= end <= stored + len(here):
                return False
            del here[: end - start]
            self._events_stored[job_id] = end
            if not here:
                self._ended_with_events.discard(job_id)
            return True

    def ended_with_events(self) -> list[str]:
        with self._lock:
            return sorted(self._ended_with_events)
