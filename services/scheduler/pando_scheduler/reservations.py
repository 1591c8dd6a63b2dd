"""Sticky reservations: what bounds how long a job can be passed by.

A job that has waited for `Policy.starvation_seconds` gets a worker of its own to wait for. Until it
is due, at the latest after `reservation_seconds`, others may use the worker, if they end or have
trained for `minimum_run_seconds` before; then whoever is in the way leaves by a checkpoint. At most
`reserved_share` of the workers are reserved at once. So the k-th starved job starts within ⌈k/R⌉
reservations, where R are had at once; jobs for whom no worker would do are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice

from pando_scheduler import preemption
from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, Reservation, WorkerKind, WorkerView
from pando_scheduler.placement import spare_bytes, within_limit
from pando_shared.jobs import YieldCause

_REASON = "it was promised to a job that has waited too long"


def most_reserved(cluster: Cluster) -> int:
    """How many workers may be reserved at once."""
    return max(1, math.ceil(len(cluster.workers) * cluster.policy.reserved_share))


def promised_seconds(cluster: Cluster, ahead: int, change_seconds: float) -> float:
    """The bound: how long after it has starved a job waits at most, with `ahead` starved jobs in
    front of it, itself included. `change_seconds` is what a checkpoint and a base's loading take.
    """
    turns = math.ceil(ahead / most_reserved(cluster))
    return turns * (cluster.policy.reservation_seconds + change_seconds)


def drop_void(draft: Draft) -> None:
    """Give up reservations whose job no longer waits or whose worker is being drained, and those of
    tenants that have come to their limit otherwise: they would keep their turn from others."""
    for reservation in list(draft.cluster.reservations.values()):
        worker = draft.cluster.workers.get(reservation.worker_id)
        job = draft.cluster.waiting.get(reservation.job_id)
        if (
            job is None
            or job.held
            or worker is None
            or worker.draining
            or not within_limit(draft, job, worker)
        ):
            draft.release(reservation)


def honour(draft: Draft, job: JobView) -> bool:
    """If the job's reservation is due, have it its worker; tells whether it was placed."""
    reservation = draft.cluster.reservations.get(job.id)
    if reservation is None or job.id in draft.released or draft.now < reservation.due:
        return False
    worker = draft.cluster.workers[reservation.worker_id]
    eviction = preemption.clear(draft, job, worker)
    if eviction is None:
        return False  # whoever is there is leaving already, and the job comes when they have left
    preemption.evict(draft, job, eviction, YieldCause.RESERVATION, _REASON)
    return True


class Line:
    """Jobs that have starved and have no worker reserved, the longest first, past those for whom no
    worker would do. It is asked for its first again and again in one plan, and looks at each once.
    """

    def __init__(self, draft: Draft):
        self._draft = draft
        self._starved = draft.cluster.waiting.starved(draft.now - draft.policy.starvation_seconds)
        self._passed = 0
        self._able: dict[Hashable, bool] = {}
        self._came_free = self._freed

    def first(self, most: int) -> list[JobView]:
        """The first `most` of them, as far as workers may still be reserved."""
        most = min(most, most_reserved(self._draft.cluster) - len(self._draft.keepers))
        return list(islice(self._waiting(), max(0, most)))

    def reserve(self, job: JobView) -> None:
        """Reserve a worker for a job if its turn has come and one may still be reserved."""
        if [one.id for one in self.first(1)] != [job.id]:
            return
        draft = self._draft
        able = _able(draft, job, self._kinds)
        found = min(((max(draft.load(w.id).longest, draft.now), w.id) for w in able), default=None)
        if found is None:  # the last one that would have done was reserved in this plan
            self._able[self._key(job)] = False
            return
        free_at, worker_id = found
        wait = min(free_at - draft.now, draft.policy.reservation_seconds)
        draft.reserve(Reservation(job.id, worker_id, draft.now + wait))

    def _waiting(self) -> Iterator[JobView]:
        if self._came_free != self._freed:
            self._came_free, self._passed = self._freed, 0
            self._able.clear()
        leading = True
        for job in islice(self._starved, self._passed, None):
            if self._is_served(job) or not self._is_able(job):
                # In this plan it stays so; those in front need not be looked at again.
                self._passed += leading
                continue
            leading = False
            yield job

    @property
    def _freed(self) -> tuple[int, int]:
        """What may give workers back to those who had none."""
        return len(self._draft.leaves), len(self._draft.released)

    def _is_served(self, job: JobView) -> bool:
        draft = self._draft
        kept = draft.cluster.reservations.get(job.id)
        has_one = (kept is not None and job.id not in draft.released) or job.id in draft.reserved
        return has_one or job.id in draft.joins or job.held is not None

    def _key(self, job: JobView) -> Hashable:
        """Of jobs that are alike in this, a worker does for all or for none."""
        limited = self._draft.policy.tenant(job.tenant).limit is not None
        tenant = job.tenant if limited else None
        return job.base_model, job.size, job.memory_ratio, job.avoids, tenant

    def _is_able(self, job: JobView) -> bool:
        key = self._key(job)
        found = self._able.get(key)
        if found is None:
            able = _able(self._draft, job, self._kinds)
            found = self._able[key] = next(able, None) is not None
        return found

    @cached_property
    def _kinds(self) -> Mapping[WorkerKind, Sequence[WorkerView]]:
        kinds: dict[WorkerKind, list[WorkerView]] = {}
        for worker in self._draft.cluster.workers.values():
            if not worker.draining:
                kinds.setdefault(worker.kind, []).append(worker)
        return kinds


def _able(
    draft: Draft, job: JobView, kinds: Mapping[WorkerKind, Sequence[WorkerView]]
) -> Iterator[WorkerView]:
    """Workers that could train the job alone and are kept for nobody. Of workers of one kind that
    have nothing of the job's tenant on them only the first is asked."""
    theirs = draft.places(job.tenant)
    for worker_id in theirs:
        worker = draft.cluster.workers.get(worker_id)
        if worker is None or worker.draining or not _is_open(draft, job, worker):
            continue
        if _could_train(draft, job, worker):
            yield worker
    for workers in kinds.values():
        asked = False
        for worker in workers:
            if worker.id in theirs or not _is_open(draft, job, worker):
                continue
            if not asked and not _could_train(draft, job, worker):
                break
            asked = True
            yield worker


def _is_open(draft: Draft, job: JobView, worker: WorkerView) -> bool:
    if worker.id in draft.keepers or worker.id in job.avoids:
        return False
    return worker.offers(job.base_model)


def _could_train(draft: Draft, job: JobView, worker: WorkerView) -> bool:
    if not within_limit(draft, job, worker):
        return False
    return spare_bytes(draft, job, worker, Load()) is not None
