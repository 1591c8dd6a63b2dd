"""Jobs that train, kept by how long they will still hold their places: who may give one up."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from pando_scheduler.picture import JobView

_Place: TypeAlias = tuple[float, str, JobView]
#: What is left of a job that is late: it might end any moment, and is not long.
_LEAST_LEFT = 1.0


class RunningJobs:
    """Jobs that train and have not been told to leave, by base and class. Putting and dropping
    cost O(log n) and a move in memory."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], dict[str, list[_Place]]] = {}
        self._jobs: dict[str, JobView] = {}

    def put(self, job: JobView) -> None:
        """Add a job, or replace what was known of it."""
        before = self._jobs.get(job.id)
        if before is not None:
            if before.ends_at == job.ends_at and before.rank == job.rank:
                # Its place in line stays; what it says of itself is looked up by its id.
                self._jobs[job.id] = job
                return
            self.drop(job.id)
        self._jobs[job.id] = job
        line = self._lines.setdefault((job.base_model, job.rank), {}).setdefault(job.tenant, [])
        insort(line, (-job.ends_at, job.id, job), key=_key)

    def drop(self, job_id: str) -> None:
        """Take a job out, if it is there."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        tenants = self._lines[job.base_model, job.rank]
        line = tenants[job.tenant]
        del line[bisect_left(line, _key((-job.ends_at, job.id, job)), key=_key)]
        if not line:
            del tenants[job.tenant]
            if not tenants:
                del self._lines[job.base_model, job.rank]

    def bases(self) -> list[str]:
        """Bases that are trained on, sorted."""
        return sorted({base for base, _ in self._lines})

    def longest_first(
        self,
        base_model: str,
        ranks: Callable[[int], bool],
        levels: Mapping[str, int],
        now: float,
        least: float = 0.0,
    ) -> Iterator[JobView]:
        """Jobs on a base, of the classes that `ranks` takes, by what is left of them, weighed by
        their tenants' levels: what weighs most first, down to `least`."""
        heads: list[tuple[float, str, int, str, float]] = []
        lines: dict[tuple[int, str], list[_Place]] = {}
        for (base, rank), tenants in self._lines.items():
            if base != base_model or not ranks(rank):
                continue
            for tenant, line in tenants.items():
                lines[rank, tenant] = line
                times = 2.0 ** levels.get(tenant, 0)
                ends, job_id, _ = line[0]
                weight = max(_LEAST_LEFT, -ends - now) * times
                if weight >= least:
                    heads.append((-weight, job_id, rank, tenant, times))
        heapq.heapify(heads)
        at: dict[tuple[int, str], int] = {}
        while heads:
            _, job_id, rank, tenant, times = heads[0]
            yield self._jobs[job_id]
            place = at[rank, tenant] = at.get((rank, tenant), 0) + 1
            line = lines[rank, tenant]
            weight = -1.0
            if place < len(line):
                ends, job_id, _ = line[place]
                weight = max(_LEAST_LEFT, -ends - now) * times
            if weight >= least:
                heapq.heapreplace(heads, (-weight, job_id, rank, tenant, times))
            else:
                heapq.heappop(heads)


def _key(place: tuple[object, ...]) -> tuple[object, ...]:
    return place[:2]
