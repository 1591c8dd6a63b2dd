"""When each job that waits gets a seat: the queue, played forward over who ends when.

List scheduling: whenever a seat comes free, the first in the queue that may take it does; and a job
that has far more left to do than the first who waits, or is of a lower class, makes place for it
once it has trained undisturbed for long enough. It knows nothing of jobs that are yet to come.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Reservation, WorkerView
from pando_scheduler.seat_counts import SeatCounts
from pando_scheduler.tenant_room import TenantRoom
from pando_scheduler.waiting_lines import WaitingLines

#: A job that has left so often trains undisturbed from then on.
_MOST_LEAVES = 12


@dataclass(slots=True)
class _Site:
    """A worker as it will be: when each of the `jobs` on it ends, and `free` seats for others of
    its base.

    Nobody starts there before it is `ready_at`; jobs take `slowdown` times as long there as alone.
    """

    worker: WorkerView
    group: Hashable
    base_model: str | None
    ready_at: float
    slowdown: float = 1.0
    free: int = 0
    kept: Reservation | None = None
    jobs: dict[str, tuple[JobView, float]] = field(default_factory=dict)


def seat_times(
    draft: Draft, waiting: Sequence[JobView]
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """When each job that waits starts, and when each that waits or trains ends, by id.

    `waiting` are in the order in which they are placed. What is not in the answers is not known. n
    jobs take O(n log n) for a few kinds of workers and jobs.
    """
    play = _Play(draft, waiting)
    play.run()
    return play.starts, play.ends


class _Play:
    def __init__(self, draft: Draft, waiting: Sequence[JobView]):
        self._draft, self._cluster, self._now = draft, draft.cluster, draft.now
        self._policy, self._levels = draft.policy, draft.levels()
        self.starts: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self._counts = SeatCounts(draft)
        self._room = TenantRoom(draft)
        self._kept = {found.worker_id: found for found in self._cluster.reservations.values()}
        #: (when, number, worker, job that ends or may be sent away; None: just look).
        self._events: list[tuple[float, int, str, str | None]] = []
        self._numbers = 0
        self._sites = {
            worker.id: self._site(worker)
            for worker in self._cluster.workers.values()
            if not worker.draining
        }
        starved_since = self._now - self._policy.starvation_seconds
        self._lines = WaitingLines(waiting, self._counts, self._room, self._levels, starved_since)
        self._able = {job.id: job for job in waiting}

    def run(self) -> None:
        self._begin()
        while self._events and len(self._lines):
            at, _, worker_id, job_id = heapq.heappop(self._events)
            site = self._sites[worker_id]
            if job_id is None:
                self._fill(site, at)
            elif job_id in site.jobs:
                job, ends_at = site.jobs[job_id]
                if ends_at > at:
                    self._send_away(site, job, ends_at, at)
                else:
                    self._end(site, job, at)

    # The workers as they are

    def _site(self, worker: WorkerView) -> _Site:
        """The worker as it is. Its seats are those of the jobs on it."""
        load, predict = self._cluster.loads[worker.id], self._cluster.predict
        site = _Site(worker, self._counts.add(worker), worker.base_model, self._now)
        if load.base_model is not None:
            site.base_model = load.base_model
            site.slowdown = predict.slowdown(worker, load.base_model, load.demand, load.count)
        for job in self._cluster.on(worker.id).values():
            staying = job.running and not job.yielding
            leaves_at = max(self._now, job.ends_at) if staying else self._now
            self._stay(site, job, job.placed_at, leaves_at)
            if staying:
                self.ends[job.id] = max(self._now, job.ends_at)
        site.kept = self._kept.get(worker.id)
        if site.kept is not None:
            self._at(max(self._now, site.kept.due), worker.id, None)
        return site

    def _begin(self) -> None:
        """Idle workers take a job each, of the base that they have in memory where there is one;
        then as many more as they have seats for."""
        idle = [site for site in self._sites.values() if not site.jobs]
        for site in idle:
            if site.kept is None and site.base_model is not None:
                self._enter(site, self._now, site.base_model)
        for site in idle:
            if not site.jobs and site.kept is None:
                self._enter(site, self._now, None)
        for site in idle:
            self._fill(site, self._now)

    def _at(self, when: float, worker_id: str, job_id: str | None) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (when, self._numbers, worker_id, job_id))

    def _stay(self, site: _Site, job: JobView, since: float, ends_at: float) -> None:
        """A job is on the worker until it ends, or, from some time on, until it is sent away."""
        site.jobs[job.id] = job, ends_at
        self._at(ends_at, site.worker.id, job.id)
        if job.preemptions <= _MOST_LEAVES:
            undisturbed = self._policy.minimum_run_seconds * 2.0**job.preemptions
            free_at = max(self._now, since + undisturbed)
            if free_at < ends_at:
                self._at(free_at, site.worker.id, job.id)

    # What happens

    def _end(self, site: _Site, job: JobView, now: float) -> None:
        del site.jobs[job.id]
        site.free += 1
        awaited = self._room.give_back(job.tenant)
        self._fill(site, now)
        if awaited:
            for other in self._sites.values():
                if other.free or not other.jobs:
                    self._fill(other, now)

    def _send_away(self, site: _Site, job: JobView, ends_at: float, now: float) -> None:
        """Have the first who may take the job's place do so."""
        weight = (ends_at - now) * 2.0 ** self._levels.get(job.tenant, 0)
        times, least = self._policy.preempt_longer, self._policy.minimum_run_seconds

        def may(other: JobView) -> bool:
            if times is not None and other.rank <= job.rank and weight >= least:
                needed = times * other.seconds_left * 2.0 ** self._levels.get(other.tenant, 0)
                if weight >= needed:
                    return True
            patience = self._cluster.classes[other.rank].preempt_after_seconds
            return (
                other.rank < job.rank
                and job.preemptions < self._policy.max_preemptions
                and patience is not None
                and now - other.queued_at >= patience
            )

        if site.kept is not None:
            return
        only = len(site.jobs) == 1
        base = None if only else site.base_model
        successor = self._lines.take(site.worker, site.group, base, only, may)
        if successor is None:
            return
        del site.jobs[job.id]
        self._room.give_back(job.tenant)
        left = (ends_at - now) / site.slowdown
        self._lines.put(
            replace(
                job,
                seconds_left=left,
                preemptions=job.preemptions + 1,
                worker_id=None,
                running=False,
                queued_at=now,
            )
        )
        if only:
            self._settle(site, successor, now)
            self._fill(site, now)
        else:
            self._seat(successor, site, now)

    def _fill(self, site: _Site, now: float) -> None:
        """Seat whoever may come to a worker now."""
        if site.kept is not None and not self._keep(site, site.kept, now):
            return
        if not site.jobs:
            self._enter(site, now, None)
        while site.jobs and site.free > 0:
            job = self._lines.take(site.worker, site.group, site.base_model, empty=False)
            if job is None:
                return
            site.free -= 1
            self._seat(job, site, now)

    def _keep(self, site: _Site, kept: Reservation, now: float) -> bool:
        """Give a reserved worker to whom it is kept for; tells whether others may come, too."""
        job = self._able.get(kept.job_id)
        waits = job is not None and kept.job_id not in self.starts
        if waits and site.jobs and now < kept.due:
            return now + self._policy.minimum_run_seconds <= kept.due
        site.kept = None
        if job is not None and waits and self._room.allows(job, site.worker):
            self._lines.drop(job)
            self._settle(site, job, now)
        return True

    def _enter(self, site: _Site, now: float, base_model: str | None) -> None:
        """Have the first who may come to an empty worker."""
        job = self._lines.take(site.worker, site.group, base_model, empty=True)
        if job is not None:
            self._settle(site, job, now)

    def _settle(self, site: _Site, job: JobView, now: float) -> None:
        """The worker takes the job's base, and has seats for others like it."""
        site.ready_at = now + self._swap_seconds(site, job.base_model)
        site.base_model = job.base_model
        seats = self._counts.on_empty(site.group, job)
        together = min(seats, self._lines.left[job.base_model] + 1)
        predict = self._cluster.predict
        demand = together * predict.demand(job, site.worker)
        site.slowdown = predict.slowdown(site.worker, job.base_model, demand, together)
        site.free = seats - 1 - len(site.jobs)
        self._seat(job, site, now)

    def _seat(self, job: JobView, site: _Site, now: float) -> None:
        starts_at = max(now, site.ready_at)
        ends_at = starts_at + job.seconds_left * site.slowdown
        self._room.take(job.tenant)
        if job.id in self._able:
            self.starts.setdefault(job.id, starts_at)
        self.ends[job.id] = ends_at
        self._stay(site, job, starts_at, ends_at)

    def _swap_seconds(self, site: _Site, base_model: str) -> float:
        if site.base_model == base_model:
            return 0.0
        # It has another base in memory by then than it has now.
        emptied = replace(site.worker, kind=replace(site.worker.kind, base_model=None))
        return self._cluster.predict.swap_seconds(emptied, base_model)
