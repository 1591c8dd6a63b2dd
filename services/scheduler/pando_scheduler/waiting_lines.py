"""The queue, by what jobs ask of a worker: a seat that is free finds the first who may take it."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pando_scheduler.picture import JobView, WorkerView
from pando_scheduler.seat_counts import SeatCounts
from pando_scheduler.tenant_room import TenantRoom
from pando_scheduler.waiting import order_key

_Place: TypeAlias = tuple[float, str, JobView]


@dataclass(slots=True)
class _Line:
    """A heap of jobs that may take the same seats. `groups`: of workers that could train them."""

    groups: frozenset[Hashable]
    alone: bool
    avoids: tuple[str, ...]
    jobs: list[_Place] = field(default_factory=list)


class WaitingLines:
    """Jobs in the order in which they are placed. `jobs` are in it already."""

    def __init__(
        self,
        jobs: Sequence[JobView],
        counts: SeatCounts,
        room: TenantRoom,
        levels: Mapping[str, int],
        starved_since: float,
    ):
        self._counts, self._room = counts, room
        self._levels, self._starved_since = levels, starved_since
        self._keys: list[Any] = [order_key(job, levels, starved_since) for job in jobs]
        self._bases: dict[str, dict[Hashable, _Line]] = {}
        self._out: set[str] = set()
        #: How many wait for each base.
        self.left: Counter[str] = Counter()
        for place, job in enumerate(jobs):
            self._add(job, place)

    def __len__(self) -> int:
        return self.left.total()

    def put(self, job: JobView) -> None:
        """A job that has left its worker is queued again."""
        key = order_key(job, self._levels, self._starved_since)
        self._add(job, bisect_left(self._keys, key) - 0.5)

    def drop(self, job: JobView) -> None:
        """Take one out, whatever its place."""
        self._out.add(job.id)
        self.left[job.base_model] -= 1

    def take(
        self,
        worker: WorkerView,
        group: Hashable,
        base_model: str | None,
        empty: bool,
        may: Callable[[JobView], bool] | None = None,
    ) -> JobView | None:
        """The first job that may join the worker; of one base, or of any."""
        first: _Place | None = None
        found: _Line | None = None
        for base in list(self._bases) if base_model is None else [base_model]:
            for line in self._standing(base):
                head = line.jobs[0]
                if first is not None and head[:2] > first[:2]:
                    continue
                if group not in line.groups or (line.alone and not empty):
                    continue
                job = head[2]
                if worker.id in line.avoids or not self._room.allows(job, worker):
                    continue
                if may is None or may(job):
                    first, found = head, line
        if first is None or found is None:
            return None
        heapq.heappop(found.jobs)
        self.left[first[2].base_model] -= 1
        return first[2]

    def _add(self, job: JobView, place: float) -> None:
        groups = self._counts.holding(job)
        lines = self._bases.setdefault(job.base_model, {})
        key = (groups, job.rank, job.alone, job.avoids, self._room.limited(job))
        line = lines.setdefault(key, _Line(groups, job.alone, job.avoids))
        heapq.heappush(line.jobs, (place, job.id, job))
        self.left[job.base_model] += 1

    def _standing(self, base_model: str) -> list[_Line]:
        """The lines for a base that have somebody in them."""
        lines = self._bases.get(base_model, {})
        for key, line in list(lines.items()):
            while line.jobs and line.jobs[0][1] in self._out:
                self._out.discard(heapq.heappop(line.jobs)[1])
            if not line.jobs:
                del lines[key]
        return list(lines.values())
