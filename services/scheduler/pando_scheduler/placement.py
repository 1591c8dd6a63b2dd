"""Where a job comes to best: on a worker that has room, where it adds most and disturbs least."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerView
from pando_scheduler.prediction import Predictor
from pando_scheduler.worker_lists import STEPS_A_WORKER, load_step

#: Gains are compared in steps of this size: a smaller difference is less than the models' error.
_GAIN_STEP = 0.05
#: Of workers that are loaded alike, so many with room for the job are compared, and so many are
#: looked at for it.
_COMPARED = 8
_LOOKED = 48
#: A job that adds so much has next to nothing taken from it, and takes next to nothing.
_SNUG = 0.9
#: On a CPU a job with less than this left joins whoever trains, until all are as slow as this.
_QUICK_SECONDS = 180.0
_QUICK_SLOWDOWN = 4.0
#: No job keeps less of a worker busy.
_LEAST_DEMAND = 0.02
#: Of sums of shares.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker that a job may join. Sorts by merit, the best first.

    `gain` is what it adds to the worker's summed relative speed: 1 on an idle one.
    """

    worker: WorkerView
    gain: float
    spare_bytes: int

    @property
    def merit(self) -> tuple[float, int, str]:
        return -round(self.gain / _GAIN_STEP), self.spare_bytes, self.worker.id


def best_seat(draft: Draft, job: JobView, among: Collection[str] | None) -> Seat | None:
    """The best worker for a job, `among` a few or among all; None: it must wait."""
    if among is not None:
        return _best_of_few(draft, job, among)
    steps = list(draft.busy(job.base_model))
    seat = _snug(draft, job, steps) or _best(draft, job, draft.idle(job.base_model), 1, _LOOKED)
    if seat is not None:
        return seat
    looked = _LOOKED
    for _, worker_ids in steps:
        ids = list(islice(worker_ids, looked))
        found = _best(draft, job, ids, _COMPARED, looked)
        if found is not None:
            seat = found
            break  # on fuller ones it would add less
        looked -= len(ids)
        if not looked:
            break
    for base in draft.cluster.lists.idle_bases():
        if base != job.base_model:
            found = _best(draft, job, draft.idle(base), 1, _LOOKED)
            if found is not None and (seat is None or found.merit < seat.merit):
                seat = found
    return seat


def _best_of_few(draft: Draft, job: JobView, among: Collection[str]) -> Seat | None:
    """What would be found among all if there were only these."""
    busy: list[tuple[int, Seat]] = []
    idle: dict[str | None, list[Seat]] = {}
    for worker_id in among:
        seat = seat_on(draft, job, worker_id)
        if seat is None:
            continue
        load = draft.load(worker_id)
        if load.count:
            busy.append((load_step(load), seat))
        else:
            idle.setdefault(seat.worker.base_model, []).append(seat)
    snug = [(-step, seat.worker.id, seat) for step, seat in busy if seat.gain >= _SNUG]
    if snug:
        return min(snug)[2]
    smallest = {base: min(seats, key=_by_size) for base, seats in idle.items()}
    if job.base_model in smallest:
        return smallest[job.base_model]
    emptiest = min((step for step, _ in busy), default=0)
    found = [seat for step, seat in busy if step == emptiest]
    return min((*found, *smallest.values()), key=attrgetter("merit"), default=None)


def _by_size(seat: Seat) -> tuple[int, str]:
    return seat.worker.kind.budget_bytes, seat.worker.id


def _snug(draft: Draft, job: JobView, steps: list[tuple[int, list[str]]]) -> Seat | None:
    """The fullest worker on the base on which the job and all others still train as if alone."""
    looked = _COMPARED
    for step, worker_ids in reversed(steps):
        if step > STEPS_A_WORKER - _steps_taken(draft, job, worker_ids[0]):
            continue
        for worker_id in worker_ids:
            seat = seat_on(draft, job, worker_id)
            if seat is not None and seat.gain >= _SNUG:
                return seat
            looked -= 1
            if not looked:
                return None
    return None


def _steps_taken(draft: Draft, job: JobView, worker_id: str) -> int:
    """The job's own share of a worker, in whole steps."""
    demand = draft.predict.demand(job, draft.cluster.workers[worker_id])
    return int(demand * STEPS_A_WORKER + 1e-9)


def _best(
    draft: Draft, job: JobView, worker_ids: Iterable[str], compared: int, looked: int
) -> Seat | None:
    """The best of the first `compared` seats on these workers, of which `looked` are looked at."""
    found: Seat | None = None
    for worker_id in islice(worker_ids, looked):
        seat = seat_on(draft, job, worker_id)
        if seat is None:
            continue
        if found is None or seat.merit < found.merit:
            found = seat
        compared -= 1
        if not compared:
            break
    return found


def seat_on(draft: Draft, job: JobView, worker_id: str) -> Seat | None:
    """The job's seat on one worker, if it may join there now."""
    worker, load = draft.cluster.workers[worker_id], draft.load(worker_id)
    if worker.draining or not worker.offers(job.base_model) or worker_id in job.avoids:
        return None
    if load.base_model not in (None, job.base_model):
        return None
    if load.alone or (job.alone and load.count):
        return None
    predict = draft.predict
    demand = load.demand + predict.demand(job, worker)
    slowdown = predict.slowdown(worker, job.base_model, demand, load.count + 1)
    gain = _gain(draft, job, worker, load, slowdown)
    if gain is None or _keeps_another_waiting(draft, job, worker_id, slowdown):
        return None
    if not within_limit(draft, job, worker):
        return None
    spare = spare_bytes(draft, job, worker, load)
    return None if spare is None else Seat(worker, gain, spare)


def _gain(
    draft: Draft, job: JobView, worker: WorkerView, load: Load, slowdown: float
) -> float | None:
    """What the job adds to the worker's summed relative speed, if it may join.

    It must not slow any job there, or itself, by more than its class allows. Beyond that it must
    add something; or be quick; or the first of its tenant, with which the worker is then shared by
    the tenants' weights; or so short that all who are there lose less time to it, taken together,
    than it would wait for the first of them to end.
    """
    if not load.count:
        swap = draft.predict.swap_seconds(worker, job.base_model)
        return max(0.01, job.seconds_left) / (max(0.01, job.seconds_left) + swap) if swap else 1.0
    quick = is_quick(job, worker)
    if slowdown > bearable(draft, job, load, quick):
        return None
    gain = added_speed(draft.predict, worker, load, slowdown)
    if gain >= draft.policy.minimum_gain:
        return min(gain, 0.99)
    if quick or has_no_place(draft, job.tenant):
        return gain
    if job.seconds_left * load.count <= load.shortest - draft.now:
        return gain
    return None


def added_speed(predict: Predictor, worker: WorkerView, load: Load, slowdown: float) -> float:
    """What one more job adds to a worker's summed relative speed, if with it all are slower by
    `slowdown` than alone."""
    if load.base_model is None:
        return 1.0 / slowdown
    before = predict.slowdown(worker, load.base_model, load.demand, load.count)
    return (load.count + 1) / slowdown - load.count / before


def is_quick(job: JobView, worker: WorkerView) -> bool:
    """Whether the job may join a worker though it adds nothing there. People try things out on a
    CPU: waiting for those who train is worse there than training slowly for a minute."""
    return worker.kind.device == "cpu" and job.seconds_left <= _QUICK_SECONDS


def bearable(draft: Draft, job: JobView, load: Load, quick: bool) -> float:
    """How slow a worker's jobs and one that joins them may become."""
    allowed = min(load.tightest, draft.cluster.classes[job.rank].max_slowdown)
    return _relaxed(draft, allowed, quick)


def _relaxed(draft: Draft, allowed: float, quick: bool) -> float:
    """The highest class bears no more for anybody's sake."""
    if not quick or allowed <= draft.cluster.classes[0].max_slowdown:
        return allowed
    return max(allowed, _QUICK_SLOWDOWN)


def has_no_place(draft: Draft, tenant: str) -> bool:
    """Whether none of a tenant's jobs is on any worker."""
    return draft.tenant_use(tenant) <= _ROUNDING


def _keeps_another_waiting(draft: Draft, job: JobView, worker_id: str, slowdown: float) -> bool:
    """Whether the worker is reserved for another job, which this one would not be gone for in time.

    Until then others may use it, who leave by a checkpoint if they must; but nobody comes who would
    have to go before it has trained for as long as a job is left undisturbed.
    """
    kept_for = draft.keepers.get(worker_id)
    if kept_for is None or kept_for.job_id == job.id:
        return False
    stay = min(2.0 * job.seconds_left * slowdown, draft.policy.minimum_run_seconds)
    return draft.now + stay > kept_for.due


def spare_bytes(draft: Draft, job: JobView, worker: WorkerView, load: Load) -> int | None:
    """What stays free of the worker's device with the job on it; None: it does not fit."""
    footprint = draft.predict.footprint(job, worker)
    if footprint is None:
        return None
    needs = draft.predict.needs(worker, job.base_model, load.footprint + footprint)
    spare = worker.kind.budget_bytes - needs.device_bytes
    if spare < 0:
        return None
    if (
        worker.kind.host_budget_bytes is not None
        and needs.host_bytes > worker.kind.host_budget_bytes
    ):
        return None
    return spare


def within_limit(draft: Draft, job: JobView, worker: WorkerView) -> bool:
    """Whether the job's tenant keeps within its limit with the job on a worker, whoever leaves it
    later."""
    limit = draft.policy.tenant(job.tenant).limit
    if limit is None:
        return True
    return draft.claim_with(job, worker) <= limit + _ROUNDING


def is_closed(draft: Draft, worker_id: str, shortest_seconds: float) -> bool:
    """Whether nobody who waits can join a worker, whatever its size: `shortest_seconds` is what is
    left of the shortest job that waits."""
    worker, load = draft.cluster.workers[worker_id], draft.load(worker_id)
    if worker.draining or load.alone:
        return True
    if not load.count:
        return False
    assert load.base_model is not None
    predict, demand = draft.predict, load.demand + _LEAST_DEMAND
    slowdown = predict.slowdown(worker, load.base_model, demand, load.count + 1)
    small = worker.kind.device == "cpu"
    if slowdown > _relaxed(draft, load.tightest, small):
        return True
    if added_speed(predict, worker, load, slowdown) >= draft.policy.minimum_gain:
        return False
    if small and shortest_seconds <= _QUICK_SECONDS:
        return False
    return shortest_seconds * load.count > load.shortest - draft.now
