"""How many jobs that are alike a worker trains at once, by the rules of `placement`."""

from __future__ import annotations

import math
from collections.abc import Hashable

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerView
from pando_scheduler.placement import bearable, is_quick, spare_bytes

#: Workers whose memories differ by less than this factor count as alike.
_ALIKE = 2.0**0.125
#: More jobs than these are not reckoned with on one worker.
_MOST_SEATS = 64


class SeatCounts:
    """Answers for groups of workers and of jobs, each worked out once."""

    def __init__(self, draft: Draft):
        self._draft = draft
        self._largest: dict[Hashable, WorkerView] = {}
        self._groups: dict[Hashable, frozenset[Hashable]] = {}
        self._counts: dict[Hashable, int] = {}
        self._ascending: list[tuple[Hashable, WorkerView]] | None = None

    def add(self, worker: WorkerView) -> Hashable:
        """Learn of a worker, and name its group: the largest of it will stand for all."""
        group = _alike(worker)
        largest = self._largest.setdefault(group, worker)
        if worker.kind.budget_bytes > largest.kind.budget_bytes:
            self._largest[group] = worker
        return group

    def holding(self, job: JobView) -> frozenset[Hashable]:
        """The groups whose workers could train the job alone. All workers must have been added."""
        key = (job.base_model, job.size, job.memory_ratio)
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = self._hold(job)
        return found

    def _hold(self, job: JobView) -> frozenset[Hashable]:
        if self._ascending is None:
            self._ascending = sorted(self._largest.items(), key=lambda pair: _memories(pair[1]))
        holding: list[Hashable] = []
        least: dict[Hashable, tuple[float, float]] = {}
        for group, worker in self._ascending:
            if not worker.offers(job.base_model):
                continue
            make, memories = _make(worker), _memories(worker)
            known = least.get(make)
            # What fits a worker fits a larger one of its make.
            if known is not None and known[1] <= memories[1]:
                holding.append(group)
            elif spare_bytes(self._draft, job, worker, Load()) is not None:
                least[make] = memories
                holding.append(group)
        return frozenset(holding)

    def on_empty(self, group: Hashable, job: JobView) -> int:
        """Seats of an empty worker of the group for jobs like this one, which it could train."""
        quick = is_quick(job, self._largest[group])
        key = (group, job.base_model, job.size, job.memory_ratio, job.rank, job.alone, quick)
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = self._count(self._largest[group], job, quick)
        return found

    def _count(self, worker: WorkerView, job: JobView, quick: bool) -> int:
        draft, load, speed = self._draft, Load(), 0.0
        allowed = bearable(draft, job, load, quick)
        for count in range(1, (1 if job.alone else _MOST_SEATS) + 1):
            fits = spare_bytes(draft, job, worker, load) is not None
            load = draft.cluster.loaded(worker, load, job, draft.now)
            slowdown = draft.predict.slowdown(worker, job.base_model, load.demand, count)
            gain = count / slowdown - speed
            useful = quick or gain >= draft.policy.minimum_gain
            if count > 1 and not (fits and useful and slowdown <= allowed):
                return count - 1
            speed += gain
        return load.count


def _alike(worker: WorkerView) -> Hashable:
    host = worker.kind.host_budget_bytes
    room = _step(worker.kind.budget_bytes), None if host is None else _step(host)
    return _make(worker), *room, worker.bases


def _make(worker: WorkerView) -> Hashable:
    kind = worker.kind
    return kind.device_kind, kind.device == "cpu", kind.base_format, kind.rows_on_disk


def _memories(worker: WorkerView) -> tuple[float, float]:
    host = worker.kind.host_budget_bytes
    return worker.kind.budget_bytes, math.inf if host is None else host


def _step(count: int) -> int:
    return round(math.log(max(1, count), _ALIKE))
