"""The queue: jobs that wait, kept in the order in which they come to a place.

First whoever has starved, by how long; then by class; within a class by how far the tenant is over
its share; then short jobs before long ones, by octaves; then by age.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from pando_scheduler.picture import JobView

_Place: TypeAlias = tuple[int, float, str, JobView]


class WaitingJobs:
    """Queued jobs by class, tenant and base. Putting and dropping cost O(log n) and a move."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, str, str], list[_Place]] = {}
        self._by_age: list[tuple[float, str, JobView]] = []
        self._jobs: dict[str, JobView] = {}
        self._tenants: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def get(self, job_id: str) -> JobView | None:
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[JobView]:
        return iter(self._jobs.values())

    @property
    def tenants(self) -> list[str]:
        """Tenants with a job that waits, sorted."""
        return sorted(self._tenants)

    def of(self, tenant: str) -> list[JobView]:
        """A tenant's waiting jobs."""
        lines = (line for (_, whose, _), line in self._lines.items() if whose == tenant)
        return [place[-1] for line in lines for place in line]

    def first_of(self, tenant: str, most: int) -> list[JobView]:
        """Of a tenant's waiting jobs, by class and base, the first."""
        lines = (line for (_, whose, _), line in self._lines.items() if whose == tenant)
        return [place[-1] for line in lines for place in line[:most]]

    def put(self, job: JobView) -> None:
        """Add a job, or replace what was known of it."""
        if job.id in self._jobs:
            self.drop(job.id)
        self._jobs[job.id] = job
        self._tenants[job.tenant] = self._tenants.get(job.tenant, 0) + 1
        line = self._lines.setdefault(_line(job), [])
        insort(line, _place(job), key=_key)
        insort(self._by_age, (job.queued_at, job.id, job), key=_key)

    def drop(self, job_id: str) -> None:
        """Take a job out, if it is there."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        left = self._tenants[job.tenant] - 1
        if left:
            self._tenants[job.tenant] = left
        else:
            del self._tenants[job.tenant]
        line = self._lines[_line(job)]
        del line[bisect_left(line, _key(_place(job)), key=_key)]
        if not line:
            del self._lines[_line(job)]
        age = (job.queued_at, job.id, job)
        del self._by_age[bisect_left(self._by_age, _key(age), key=_key)]

    def starved(self, since: float) -> list[JobView]:
        """Those queued at `since` or before, longest first."""
        end = bisect_right(self._by_age, since, key=lambda place: place[0])
        return [place[-1] for place in self._by_age[:end]]

    def queued_between(self, after: float, until: float) -> list[JobView]:
        """Those queued later than `after` and not later than `until`."""
        first = bisect_right(self._by_age, after, key=lambda place: place[0])
        last = bisect_right(self._by_age, until, key=lambda place: place[0])
        return [place[-1] for place in self._by_age[first:last]]

    def shortest_seconds(self, base_model: str) -> float:
        """At least this is left of every job that waits for a base."""
        heads = (line[0][0] for (_, _, base), line in self._lines.items() if base == base_model)
        return 60.0 * (2.0 ** min(heads, default=0) - 1.0)

    def in_order(
        self,
        levels: Mapping[str, int],
        starved: list[JobView],
        bases: Collection[str] | None = None,
    ) -> Iterator[JobView]:
        """Waiting jobs, of some bases or of all, first to be placed first. Tenants without a level
        are at 0. The starved come before all others."""
        first = {job.id for job in starved}
        yield from (job for job in starved if bases is None or job.base_model in bases)
        classes: dict[int, dict[int, list[list[_Place]]]] = {}
        for (rank, tenant, base), line in self._lines.items():
            if bases is None or base in bases:
                classes.setdefault(rank, {}).setdefault(levels.get(tenant, 0), []).append(line)
        for rank in sorted(classes):
            shifted = [
                _shifted(heapq.merge(*lines, key=_key), level)
                for level, lines in sorted(classes[rank].items())
            ]
            for _, job in heapq.merge(*shifted, key=_first):
                if job.id not in first:
                    yield job


def order_key(job: JobView, levels: Mapping[str, int], starved_since: float) -> tuple[object, ...]:
    """Sorts jobs as `in_order` does, for those who have only a few."""
    if job.queued_at <= starved_since:
        return (0, job.queued_at, job.id)
    return (1, job.rank, levels.get(job.tenant, 0) + job.bucket, job.created_at, job.id)


def _shifted(
    line: Iterable[_Place], level: int
) -> Iterator[tuple[tuple[int, float, str], JobView]]:
    for bucket, created_at, job_id, job in line:
        yield (bucket + level, created_at, job_id), job


def _first(pair: tuple[tuple[int, float, str], JobView]) -> tuple[int, float, str]:
    return pair[0]


def _line(job: JobView) -> tuple[int, str, str]:
    return job.rank, job.tenant, job.base_model


def _place(job: JobView) -> _Place:
    return (job.bucket, job.created_at, job.id, job)


def _key(place: tuple[object, ...]) -> tuple[object, ...]:
    """All but the job itself, which has no order."""
    return place[:-1]
