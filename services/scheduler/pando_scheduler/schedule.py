"""`schedule`: the whole decision, a pure function of the cluster and the time.

Production and the simulator call it alike. It reads the cluster and changes nothing; the caller
carries the plan out, tells the cluster what came of it, and then settles it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pando_scheduler import reservations
from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.misses import Misses
from pando_scheduler.picture import JobView
from pando_scheduler.placement import Seat, best_seat, has_no_place, is_closed
from pando_scheduler.plan import Plan
from pando_scheduler.taking import Takers
from pando_scheduler.waiting import order_key
from pando_shared.jobs import YieldCause

#: Places that one pass takes from others, at most: what a pass costs is bounded, the next goes on.
_PREEMPTIONS_A_PASS = 16
#: So many of the queue's first are looked at again now and then, though nothing has changed.
_RELOOKED = 64
#: So many whenever a worker has changed; and so many of a tenant's first, of each class and base,
#: where it has less than it is guaranteed.
_FIRST = 16
#: So many of the queue's first are looked at for the workers that have changed.
_WALKED = 1024
#: Of more workers that have changed, a job's best is found faster among all.
_MANY = 32


def schedule(cluster: Cluster, now: float) -> Plan:
    """Who joins which worker and who leaves.

    Looks at what has changed since the cluster was settled: at everybody who waits for the workers
    that changed, and at all workers for the jobs that are new. For all else the last plan's answer
    stands: a job that no worker had room for finds none in a worker that has not changed.
    """
    draft = Draft(cluster, now)
    reservations.drop_void(draft)
    _empty_drained(draft)
    _fill(draft)
    return draft.plan()


def _empty_drained(draft: Draft) -> None:
    for worker_id in sorted(draft.cluster.dirty):
        worker = draft.cluster.workers.get(worker_id)
        if worker is not None and worker.draining:
            for _, job in sorted(draft.staying(worker_id).items()):
                reason = f"worker {worker_id} is being drained"
                draft.leave(job, YieldCause.DRAIN, reason)


def _fill(draft: Draft) -> None:
    """Seat whom there is room for. Whenever others have left for a job, begin again at the head of
    the queue: what they leave free is for whoever comes first."""
    tried = _Tried(Takers(draft), reservations.Line(draft))
    most = len(draft.leaves) + _PREEMPTIONS_A_PASS
    while _Round(draft, tried).go():
        if len(draft.leaves) >= most:
            # Nobody else leaves in this plan; whoever finds a seat without that still gets it.
            _Round(draft, tried, may_take=False).go()
            return


@dataclass(slots=True)
class _Tried:
    """What need not be tried again in this plan: jobs for which all workers were looked at, and
    those that found nobody whose place they may take; and who is next to have a worker reserved.
    Of the plan's leaves, the first `relieved` have been seen to."""

    takers: Takers
    line: reservations.Line
    looked: set[str] = field(default_factory=set)
    in_vain: set[str] = field(default_factory=set)
    relieved: int = 0


class _Round:
    """One time through the queue, in order: all of it while a worker that has changed is open;
    beyond that only those jobs whose own standing has changed."""

    def __init__(self, draft: Draft, tried: _Tried, may_take: bool = True):
        self._draft = draft
        self._tried = tried
        self._may_take = may_take
        self._starved_since = draft.now - draft.policy.starvation_seconds
        self._full = Misses()  # asked of all workers
        self._shut = Misses()  # asked of those that have changed
        cluster = draft.cluster
        self._shortest_of: dict[str, float] = {}
        self._placeless = {t for t in cluster.waiting.tenants if has_no_place(draft, t)}
        touched = (cluster.dirty & cluster.workers.keys()) | draft.loads().keys()
        self._open: dict[str | None, set[str]] = {}
        for worker_id in touched if len(cluster.waiting) else ():
            self._look_at(worker_id)
        self._new, self._entitled = _due(draft, tried.line)
        relieved = _relieved(draft, tried.relieved)
        self._new |= relieved
        tried.looked -= relieved
        tried.relieved = len(draft.leaves)

    def go(self) -> bool:
        """Tells whether others have left, and it is to be gone through again."""
        before = len(self._draft.leaves)
        for job in self._jobs():
            if job.held is None and job.id not in self._draft.joins:
                self._serve(job)
                if len(self._draft.leaves) > before:
                    return True
        return False

    def _serve(self, job: JobView) -> None:
        draft, tried = self._draft, self._tried
        new = job.id in self._new
        if new or self._open:
            seat = self._seat(job, new and job.id not in tried.looked)
            if seat is not None:
                draft.join(job, seat.worker, f"adds {seat.gain:.2f} of a worker's speed")
                self._placeless.discard(job.tenant)
                self._look_at(seat.worker.id)
                return
        if new:
            tried.looked.add(job.id)
        elif job.id not in self._entitled:
            return
        if not self._may_take:
            return
        if job.queued_at <= self._starved_since:
            if reservations.honour(draft, job):
                return
            tried.line.reserve(job)
        if job.id not in tried.in_vain and not tried.takers.take(job):
            tried.in_vain.add(job.id)

    def _seat(self, job: JobView, new: bool) -> Seat | None:
        draft = self._draft
        if self._full.covers(draft, job):
            return None
        among = None if new else self._open_to(job)
        if among is not None and (not among or self._shut.covers(draft, job)):
            return None
        seat = best_seat(draft, job, among)
        if seat is None:
            (self._full if among is None else self._shut).add(draft, job)
        return seat

    def _open_to(self, job: JobView) -> set[str] | None:
        """The changed workers that are open to a job; None: so many that all may as well be."""
        found = self._open.get(job.base_model, set()) | self._open.get(None, set())
        return None if len(found) > _MANY else found

    def _look_at(self, worker_id: str) -> None:
        """Note whether a worker that has changed is open."""
        draft = self._draft
        base = draft.load(worker_id).base_model
        for listed in [base for base, found in self._open.items() if worker_id in found]:
            self._open[listed].discard(worker_id)
            if not self._open[listed]:
                del self._open[listed]
        if worker_id in draft.cluster.dirty or worker_id in draft.loads():
            shortest = 0.0 if base is None else self._shortest(base)
            if not is_closed(draft, worker_id, shortest):
                self._open.setdefault(base, set()).add(worker_id)

    def _shortest(self, base_model: str) -> float:
        """At least this is left of whoever waits for the base, or 0 while a tenant that has no
        place waits, which may join whatever its jobs' lengths."""
        if self._placeless:
            return 0.0
        found = self._shortest_of.get(base_model)
        if found is None:
            found = self._draft.cluster.waiting.shortest_seconds(base_model)
            self._shortest_of[base_model] = found
        return found

    def _jobs(self) -> Iterator[JobView]:
        """In order, those who are due among those for whom a worker is open."""
        waiting = self._draft.cluster.waiting
        found = (waiting.get(job_id) for job_id in self._new | self._entitled)
        due = [job for job in found if job is not None]
        if not (self._open or due):
            return
        if len(waiting) == len(due) == 1:
            yield due[0]  # which needs no order
            return
        levels, since = self._draft.levels(), self._starved_since

        def key(job: JobView) -> tuple[object, ...]:
            return order_key(job, levels, since)

        seen: set[str] = set()
        for job in heapq.merge(sorted(due, key=key), self._while_open(levels), key=key):
            if job.id not in seen:
                seen.add(job.id)
                yield job

    def _while_open(self, levels: Mapping[str, int]) -> Iterator[JobView]:
        """Those for whose bases a worker that has changed is open."""
        if not self._open:
            return
        waiting = self._draft.cluster.waiting
        bases = None if None in self._open else {base for base in self._open if base}
        in_order = waiting.in_order(levels, waiting.starved(self._starved_since), bases)
        for job in islice(in_order, _WALKED):
            if not self._open:
                return
            yield job


def _relieved(draft: Draft, seen: int) -> set[str]:
    """Jobs whose tenant was nearer to its limit before the leaves beyond the first `seen`: workers
    that have not changed may be open to them now."""
    found: set[str] = set()
    for job_id in islice(draft.leaves, seen, None):
        left = draft.cluster.find(job_id)
        if left is not None and draft.policy.tenant(left.tenant).limit is not None:
            found.update(job.id for job in draft.cluster.waiting.of(left.tenant))
    return found


def _due(draft: Draft, line: reservations.Line) -> tuple[set[str], set[str]]:
    """Jobs whose standing has changed: those that are new to all workers; and those that may now
    take others' places, since their patience is over, their reservation is due or to be made, their
    tenant has less than it is guaranteed, or they are the first of the queue, where a worker
    has changed and now and then."""
    cluster, now = draft.cluster, draft.now
    waiting = cluster.waiting
    if not len(waiting):
        return set(), set()
    new = {job_id for job_id in cluster.fresh if job_id in waiting}
    entitled: set[str] = set()
    patience = {c.preempt_after_seconds for c in cluster.classes if c.preempt_after_seconds}
    for seconds in patience:
        ripe = waiting.queued_between(cluster.settled_at - seconds, now - seconds)
        entitled.update(job.id for job in ripe)
    entitled.update(job_id for job_id, kept in cluster.reservations.items() if now >= kept.due)
    # All who may come to have a worker reserved in this pass, so that they come to it in order.
    entitled.update(job.id for job in line.first(reservations.most_reserved(cluster)))
    for tenant in _short_of_their_guarantee(draft):
        entitled.update(job.id for job in waiting.first_of(tenant, _FIRST))
    looked = _RELOOKED if cluster.relook_due(now) else _FIRST if cluster.dirty else 0
    if len(waiting) <= looked:
        entitled.update(job.id for job in waiting)
    elif looked:
        first = waiting.in_order(draft.levels(), [])
        entitled.update(job.id for job in islice(first, looked))
    return new, entitled


def _short_of_their_guarantee(draft: Draft) -> list[str]:
    policy = draft.policy
    named = [tenant for tenant in draft.cluster.waiting.tenants if policy.tenant(tenant).guaranteed]
    return [t for t in named if draft.tenant_use(t) < policy.tenant(t).guaranteed]
