"""The policies that are compared: Pando's own, and what others do.

All get the same machines, the same predictions and the same ways to train together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerView
from pando_scheduler.placement import Seat, added_speed, best_seat, seat_on
from pando_scheduler.plan import Join, Leave, Plan
from pando_scheduler.schedule import schedule
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import ClassPolicy, Policy

#: What a further job must add to a machine's speed where everybody may be placed anew.
_WORTH_IT = 0.25

Order = Callable[[JobView, "Known"], tuple[float | int | str, ...]]


@dataclass(frozen=True, slots=True)
class Known:
    """What an order may go by beside the job itself: service that each has had, in seconds of a
    worker, and the true seconds left, which only an oracle asks for."""

    attained: Callable[[str], float]
    truth: Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy by name. `plan` decides; `policy` gives the constants it works by.

    `padded`: jobs that train together are padded to the longest, as mLoRA does.
    """

    name: str
    plan: Callable[[Cluster, float, Known], Plan]
    policy: Callable[[Policy], Policy] = lambda policy: policy
    padded: bool = False
    #: Whether a machine's speed is shared among tenants, by their weights, or among jobs.
    by_tenant: bool = False
    #: Whether the scheduler's forecasts are about what it does.
    foretold: bool = False
    about: str = ""


def _pando(cluster: Cluster, now: float, known: Known) -> Plan:
    return schedule(cluster, now)


def _without_rules(policy: Policy) -> Policy:
    """Whoever fits joins, as long as nobody gets slower than half; nobody is reserved for."""
    free = ClassPolicy(preempt_after_seconds=None, max_slowdown=2.0)
    return replace(
        policy,
        classes=dict.fromkeys(Priority, free),
        tenants={},
        minimum_gain=float("-inf"),
        starvation_seconds=float("inf"),
    )


def _seat_in_order(order: Order, fused: bool) -> Callable[[Cluster, float, Known], Plan]:
    """Go through the queue in an order; whoever finds a worker keeps it to the end."""

    def plan(cluster: Cluster, now: float, known: Known) -> Plan:
        draft = Draft(cluster, now)
        full: set[object] = set()
        if not cluster.dirty and not cluster.fresh:
            return draft.plan()
        for job in sorted(cluster.waiting, key=lambda job: order(job, known)):
            shape = job.shape
            if shape in full:
                continue
            seat = best_seat(draft, job, None) if fused else _idle_seat(draft, job)
            if seat is None:
                full.add(shape)
            else:
                draft.join(job, seat.worker, "fits")
        return draft.plan()

    return plan


def _idle_seat(draft: Draft, job: JobView) -> Seat | None:
    """An idle worker, one that has the base if there is one."""
    bases = [job.base_model, *(b for b in draft.cluster.lists.idle_bases() if b != job.base_model)]
    for base in bases:
        for worker_id in draft.idle(base):
            seat = seat_on(draft, job, worker_id)
            if seat is not None:
                return seat
    return None


def _preempt_in_order(order: Order) -> Callable[[Cluster, float, Known], Plan]:
    """All jobs, those in training too, in an order; each takes the place it finds, and whoever
    finds none must leave."""

    def plan(cluster: Cluster, now: float, known: Known) -> Plan:
        everybody = [*cluster.waiting, *cluster.placed()]
        wanted: dict[str, str] = {}
        loads: dict[str, Load] = {}
        for job in sorted(everybody, key=lambda job: order(job, known)):
            where = _place(cluster, loads, job)
            if where is not None:
                wanted[job.id] = where.id
                loads[where.id] = cluster.loaded(where, loads.get(where.id, Load()), job, now)
        leaves = tuple(
            Leave(job.id, job.worker_id or "", YieldCause.PRIORITY, "a better job comes")
            for job in cluster.placed()
            if wanted.get(job.id) != job.worker_id
        )
        joins = tuple(
            Join(job.id, wanted[job.id], "fits")
            for job in everybody
            if job.id in wanted and wanted[job.id] != job.worker_id
        )
        return Plan(leaves, joins)

    return plan


def _place(cluster: Cluster, loads: Mapping[str, Load], job: JobView) -> WorkerView | None:
    """Where it is, if it may stay; else the emptiest worker with room, on its base if possible."""
    found: tuple[tuple[bool, bool, float, str], WorkerView] | None = None
    for worker in cluster.workers.values():
        load = loads.get(worker.id, Load())
        if load.base_model not in (None, job.base_model) or not worker.offers(job.base_model):
            continue
        predict = cluster.predict
        demand = load.demand + predict.demand(job, worker)
        slowdown = predict.slowdown(worker, job.base_model, demand, load.count + 1)
        if load.count and added_speed(predict, worker, load, slowdown) < _WORTH_IT:
            continue
        footprint = predict.footprint(job, worker)
        if footprint is None:
            continue
        needs = predict.needs(worker, job.base_model, load.footprint + footprint)
        if needs.device_bytes > worker.kind.budget_bytes:
            continue
        swaps = load.base_model is None and worker.base_model != job.base_model
        merit = (worker.id != job.worker_id, swaps, load.demand, worker.id)
        if found is None or merit < found[0]:
            found = merit, worker
    return None if found is None else found[1]


def _age(job: JobView, known: Known) -> tuple[float | str, ...]:
    return job.created_at, job.id


def _shortest(job: JobView, known: Known) -> tuple[float | str, ...]:
    return job.seconds_left, job.created_at, job.id


def _by_class(job: JobView, known: Known) -> tuple[float | str, ...]:
    return job.rank, job.created_at, job.id


def _least_attained(job: JobView, known: Known) -> tuple[float | str, ...]:
    """Two queues, as Tiresias has: who has had an hour of a worker is behind all who have not."""
    return int(known.attained(job.id) >= 3600.0), job.created_at, job.id


def _least_left(job: JobView, known: Known) -> tuple[float | str, ...]:
    return known.truth(job.id), job.id


def _padding(job: JobView, known: Known) -> tuple[float | str, ...]:
    """Jobs of like lengths follow each other, so that they meet."""
    return round(job.size.longest, -2), job.created_at, job.id


CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("pando", _pando, by_tenant=True, foretold=True, about="this project's scheduler"),
        Contender(
            "fifo-one",
            _seat_in_order(_age, fused=False),
            _without_rules,
            about="first come, first served; one job a GPU",
        ),
        Contender(
            "fifo-fused",
            _seat_in_order(_age, fused=True),
            _without_rules,
            about="first come, first served; whoever fits trains together",
        ),
        Contender(
            "minpad",
            _seat_in_order(_padding, fused=True),
            _without_rules,
            padded=True,
            about="mLoRA: jobs of like lengths together, padded to the longest",
        ),
        Contender(
            "sjf",
            _seat_in_order(_shortest, fused=True),
            _without_rules,
            about="the job with the least predicted time left first, fused",
        ),
        Contender(
            "priority",
            _seat_in_order(_by_class, fused=True),
            _without_rules,
            about="by class, then age, fused",
        ),
        Contender(
            "las",
            _preempt_in_order(_least_attained),
            _without_rules,
            about="least attained service first, two queues, preemptive (Tiresias), fused",
        ),
        Contender(
            "srpt-oracle",
            _preempt_in_order(_least_left),
            _without_rules,
            about="least true time left first, preemptive and free, fused: a bound, not a policy",
        ),
    )
}
