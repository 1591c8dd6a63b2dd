"""Sticky reservations: what bounds how long a job can be passed by.

A job that has waited for `Policy.starvation_seconds` gets a worker of its own to wait for. Until it
is due, at the latest after `reservation_seconds`, others join there only if they end before; then
whoever is still there leaves by a checkpoint. At most `reserved_share` of the workers are reserved
at once. So the k-th starved job starts within ⌈k/R⌉ reservations, where R are had at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pando_scheduler import preemption
from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, Reservation, WorkerView
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
    """Give up reservations whose job no longer waits, or whose worker is being drained."""
    for reservation in list(draft.cluster.reservations.values()):
        worker = draft.cluster.workers.get(reservation.worker_id)
        job = draft.cluster.waiting.get(reservation.job_id)
        if job is None or job.held or worker is None or worker.draining:
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


def make(draft: Draft, job: JobView) -> None:
    """Reserve a worker for a job that has starved, if one may still be reserved and its turn has
    come: in the order in which jobs have come to starve, past those for whom no worker would do."""
    if job.id in draft.cluster.reservations or job.id in draft.reserved:
        return
    if len(draft.keepers) >= most_reserved(draft.cluster) or _is_behind(draft, job):
        return
    able = ((max(draft.load(w.id).longest, draft.now), w.id) for w in _able(draft, job))
    found = min(able, default=None)
    if found is not None:
        free_at, worker_id = found
        wait = min(free_at - draft.now, draft.policy.reservation_seconds)
        draft.reserve(Reservation(job.id, worker_id, draft.now + wait))


def _is_behind(draft: Draft, job: JobView) -> bool:
    """Whether another that has waited longer is without a worker of its own."""
    for other in draft.cluster.waiting.starved(job.queued_at):
        if other.id == job.id:
            return False
        has_one = other.id in draft.joins or other.id in draft.reserved
        waits = not has_one and other.id not in draft.cluster.reservations and other.held is None
        if waits and next(_able(draft, other), None) is not None:
            return True
    return False


def _able(draft: Draft, job: JobView) -> Iterator[WorkerView]:
    """Workers that could train the job alone and are kept for nobody."""
    for worker in draft.cluster.workers.values():
        if worker.id in draft.keepers or worker.draining or worker.id in job.avoids:
            continue
        if not worker.offers(job.base_model) or not within_limit(draft, job, worker):
            continue
        if spare_bytes(draft, job, worker, Load()) is not None:
            yield worker
