"""Who must leave for whom: the fewest jobs that make room, those with most left to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerView
from pando_scheduler.placement import added_speed, bearable, spare_bytes, within_limit
from pando_shared.jobs import YieldCause

#: So many jobs of a base are looked at as victims, and so many workers that could be made room on
#: are compared.
_LOOKED = 32
_COMPARED = 4

MayLeave = Callable[[JobView], bool]


@dataclass(frozen=True, slots=True)
class Eviction:
    """Jobs that must leave a worker so that another can join it."""

    worker: WorkerView
    victims: tuple[JobView, ...]


def may_preempt(draft: Draft, job: JobView) -> bool:
    """Whether the job has waited for as long as its class must before it takes others' places."""
    patience = draft.cluster.classes[job.rank].preempt_after_seconds
    return patience is not None and draft.now - job.queued_at >= patience


def for_priority(draft: Draft, job: JobView) -> Eviction | None:
    """Make room for a job of a higher class, by jobs of lower ones."""
    at_once = draft.cluster.classes[job.rank].preempt_after_seconds == 0

    def lower(other: JobView) -> bool:
        return other.rank > job.rank and not _spared(draft, other, at_once)

    return _first(draft, job, lower, lambda rank: rank > job.rank, 0.0)


def for_guarantee(draft: Draft, job: JobView) -> Eviction | None:
    """Make room for a job of a tenant that has less than it is guaranteed, by jobs of those who
    have borrowed: who keep their own guarantee, and are of no higher class."""
    guaranteed = draft.policy.tenant(job.tenant).guaranteed
    if draft.tenant_use(job.tenant) >= guaranteed:
        return None

    def borrowed(other: JobView) -> bool:
        if other.tenant == job.tenant or other.rank < job.rank:
            return False
        return _borrowed(draft, other.tenant) > 1e-9 and not _spared(draft, other, at_once=False)

    return _first(draft, job, borrowed, lambda rank: rank >= job.rank, 0.0, _keep_guarantees)


def for_shorter(draft: Draft, job: JobView) -> Eviction | None:
    """Make room for a short job by jobs of its class or below that have far more left to do, both
    weighed by how far their tenants are over their shares.

    Each time a job has left, it trains undisturbed for twice as long: nobody is sent to and fro.
    """
    times = draft.policy.preempt_longer
    if times is None:
        return None
    levels, shortest = draft.levels(), draft.policy.minimum_run_seconds
    least = max(times * job.seconds_left * 2.0 ** levels.get(job.tenant, 0), shortest)

    def longer(other: JobView) -> bool:
        if other.rank < job.rank or has_its_turn(draft, other):
            return False
        # One that is slowed by others is no longer than it would be alone, as `job` is told.
        alone = other.seconds_left * 2.0 ** levels.get(other.tenant, 0)
        if min(alone, _weight(draft, other)) < least:
            return False
        return draft.now - other.placed_at >= shortest * 2.0 ** min(other.preemptions, 32)

    return _first(draft, job, longer, lambda rank: rank >= job.rank, least)


def clear(draft: Draft, job: JobView, worker: WorkerView) -> Eviction | None:
    """Make room on the worker that is reserved for a job, by whoever is there."""
    return _on(draft, job, worker, lambda other: True)


def evict(draft: Draft, job: JobView, eviction: Eviction, cause: YieldCause, reason: str) -> None:
    """Have the victims leave, and the job join."""
    for victim in eviction.victims:
        draft.leave(victim, cause, reason)
    draft.join(job, eviction.worker, f"{len(eviction.victims)} jobs leave for it: {reason}")


def has_its_turn(draft: Draft, job: JobView) -> bool:
    """Whether a job that trains had starved, and now has its place to itself for a while: for as
    long as the next may have to wait for one."""
    starved = job.placed_at - job.queued_at >= draft.policy.starvation_seconds
    return starved and draft.now - job.placed_at < draft.policy.reservation_seconds


def _spared(draft: Draft, job: JobView, at_once: bool) -> bool:
    """Whether a job must not be preempted again, or not yet. A class that takes places `at_once`
    waits for neither: what bounds how often a job leaves for it is that the job starves at last.
    """
    if has_its_turn(draft, job):
        return True
    if at_once:
        return False
    often = job.preemptions >= draft.policy.max_preemptions
    return often or draft.now - job.placed_at < draft.policy.minimum_run_seconds


def _borrowed(draft: Draft, tenant: str) -> float:
    """What a tenant uses beyond its guarantee, now and by what is planned so far."""
    use = min(draft.tenant_use(tenant), draft.cluster.accounts.in_use.get(tenant, 0.0))
    return use - draft.policy.tenant(tenant).guaranteed


def _weight(draft: Draft, job: JobView) -> float:
    """What is left of a job that trains, by how far its tenant is over its share."""
    left = max(1.0, job.ends_at - draft.now)
    return left * 2.0 ** draft.levels().get(job.tenant, 0)


def _keep_guarantees(draft: Draft, candidates: Iterable[JobView]) -> Iterator[JobView]:
    """Those whose tenants, with all before them gone too, still have what they are guaranteed."""
    borrowed: dict[str, float] = {}
    for job in candidates:
        assert job.worker_id is not None
        worker, load = draft.cluster.workers[job.worker_id], draft.load(job.worker_id)
        share = draft.cluster.share_of(job, worker, load.demand)
        left = borrowed.get(job.tenant, _borrowed(draft, job.tenant)) - share
        if left >= -1e-9:
            borrowed[job.tenant] = left
            yield job


def _all(draft: Draft, candidates: Iterable[JobView]) -> Iterable[JobView]:
    return candidates


def _first(
    draft: Draft,
    job: JobView,
    may_leave: MayLeave,
    ranks: Callable[[int], bool],
    least: float,
    choose: Callable[[Draft, Iterable[JobView]], Iterable[JobView]] = _all,
) -> Eviction | None:
    """Go through jobs that train, heaviest first, down to `least`; of the first workers on which
    room can be made, that with the fewest victims. Workers on the job's base first."""
    running = draft.cluster.running
    bases = [job.base_model, *(base for base in running.bases() if base != job.base_model)]
    for base in bases:
        found: Eviction | None = None
        tried: set[str] = set()
        compared = looked = 0
        for other in running.longest_first(base, ranks, draft.levels(), draft.now, least):
            looked += 1
            if looked > _LOOKED or compared >= _COMPARED:
                break
            assert other.worker_id is not None
            if other.worker_id in tried or other.id in draft.leaves or not may_leave(other):
                continue
            tried.add(other.worker_id)
            worker = _usable(draft, job, other.worker_id)
            eviction = None if worker is None else _on(draft, job, worker, may_leave, choose)
            if eviction is not None:
                compared += 1
                if found is None or len(eviction.victims) < len(found.victims):
                    found = eviction
        if found is not None:
            return found
    return None


def _usable(draft: Draft, job: JobView, worker_id: str) -> WorkerView | None:
    """The worker, if it could train the job and is kept for nobody else."""
    worker = draft.cluster.workers.get(worker_id)
    if worker is None or worker.draining or worker_id in job.avoids:
        return None
    kept_for = draft.keepers.get(worker_id)
    if kept_for is not None and kept_for.job_id != job.id:
        return None
    return worker if worker.offers(job.base_model) else None


def _on(
    draft: Draft,
    job: JobView,
    worker: WorkerView,
    may_leave: MayLeave,
    choose: Callable[[Draft, Iterable[JobView]], Iterable[JobView]] = _all,
) -> Eviction | None:
    """The victims on one worker; None: not even all who may leave make room."""

    def last_to_leave(other: JobView) -> tuple[bool, int, float, str]:
        return has_its_turn(draft, other), -other.rank, -_weight(draft, other), other.id

    if not within_limit(draft, job, worker):
        return None
    here = draft.staying(worker.id)
    candidates = sorted((other for other in here.values() if may_leave(other)), key=last_to_leave)
    victims: list[JobView] = []
    if draft.load(worker.id).base_model not in (None, job.base_model):
        if len(candidates) < len(draft.here(worker.id)):
            return None  # all must leave for another base
        victims = list(choose(draft, candidates))
        room = len(victims) == len(candidates) and _has_room(draft, job, worker, victims)
        return Eviction(worker, tuple(victims)) if room else None
    for candidate in choose(draft, candidates):
        victims.append(candidate)
        if _has_room(draft, job, worker, victims):
            break
    else:
        return None
    # One that was taken early may not be needed after all.
    for candidate in list(victims[:-1]):
        fewer = [other for other in victims if other is not candidate]
        if _has_room(draft, job, worker, fewer):
            victims = fewer
    return Eviction(worker, tuple(victims))


def _has_room(draft: Draft, job: JobView, worker: WorkerView, without: Iterable[JobView]) -> bool:
    """Whether the job could join if these left: by memory, by what its class may suffer, and by
    what it would add."""
    gone = {other.id for other in without}
    left = {i: other for i, other in draft.here(worker.id).items() if i not in gone}
    load: Load = draft.cluster.load_of(worker, left)
    if load.base_model not in (None, job.base_model) or load.alone or (job.alone and load.count):
        return False
    if spare_bytes(draft, job, worker, load) is None:
        return False
    if not load.count:
        return True
    demand = load.demand + draft.predict.demand(job, worker)
    slowdown = draft.predict.slowdown(worker, job.base_model, demand, load.count + 1)
    if slowdown > bearable(draft, job, load, quick=False) + 1e-9:
        return False
    return added_speed(draft.predict, worker, load, slowdown) >= draft.policy.minimum_gain
