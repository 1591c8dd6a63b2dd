"""The policy: who comes first, who is admitted where, and who waits for what.

Priority, then age; admitted by predicted bytes, of a GPU and of its host. A job that has waited for
longer than `Rules.patience_seconds` reserves a worker: nobody behind it may join there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pando_scheduler.cluster import Rules
from pando_scheduler.seats import Seats
from pando_shared.admission import Shortage, closest
from pando_shared.jobs import Job

#: Up to about this many jobs a worker gains from training them together; beyond, an idle worker
#: is the better place.
FUSE_TARGET = 4


def order(queued: Iterable[Job]) -> list[Job]:
    """The queue, first to be placed first."""
    return sorted(queued, key=lambda job: job.queue_order)


def admit(job: Job, fleet: Sequence[Seats], reserved: Collection[str]) -> Seats | None:
    """The worker that a job joins now, or None."""
    open_to_it = [
        seats
        for seats in fleet
        if seats.worker.id not in reserved
        and seats.offers(job.spec.model)
        and seats.base_model in (None, job.spec.model)
        and (needs := seats.needs_with(job)) is not None
        and seats.fits(needs)
    ]
    return min(open_to_it, key=lambda seats: _preference(job, seats), default=None)


def _preference(job: Job, seats: Seats) -> tuple[int, int, str]:
    """Sorts ascending: small groups on the same base, idle workers, then large groups."""
    occupied = len(seats.occupants) + len(seats.joining)
    if seats.base_model is not None:
        rank = 0 if occupied < FUSE_TARGET else 4
    elif seats.worker.base_model == job.spec.model:
        rank = 1
    else:
        rank = 2 if seats.worker.base_model is None else 3
    return rank, occupied, seats.worker.id


def reserve(
    job: Job, fleet: Sequence[Seats], reserved: Collection[str], now: float, rules: Rules
) -> Seats | None:
    """The worker that a job which has waited too long keeps others from, or None.

    It is the emptiest that could train the job alone, for it is likely to be free first.
    """
    waited = now - (job.created_at if job.queued_at is None else job.queued_at)
    if waited <= rules.patience_seconds:
        return None
    could = [
        seats
        for seats in fleet
        if seats.worker.id not in reserved
        and seats.offers(job.spec.model)
        and (alone := seats.needs_alone(job)) is not None
        and seats.fits(alone)
    ]
    return min(could, key=lambda seats: (len(seats.occupants), seats.worker.id), default=None)


def explain(job: Job, fleet: Sequence[Seats], reserved: Collection[str], rules: Rules) -> str:
    """Why a job is not placed, in the words its user reads. `fleet` is as the plan leaves it."""
    base = job.spec.model
    if not fleet:
        return "no worker is alive"
    offering = [seats for seats in fleet if seats.offers(base)]
    if not offering:
        return f"no live worker offers base model {base!r}"
    alone = [
        (seats.worker, needs) for seats in offering if (needs := seats.needs_alone(job)) is not None
    ]
    if not alone:
        return f"base model {base!r} is not configured at the scheduler"
    _, lacks = closest(alone, rules.memory_headroom)
    if lacks:
        return f"needs {_listed(lacks, 'the largest worker')}"
    same_base = [seats for seats in offering if seats.base_model in (None, base)]
    if not same_base:
        return "waits for a worker that now trains another base model"
    open_to_it = [seats for seats in same_base if seats.worker.id not in reserved]
    if not open_to_it:
        return "waits behind a job that has waited for longer"
    beside = [
        (seats.worker, needs)
        for seats in open_to_it
        if (needs := seats.needs_with(job)) is not None
    ]
    worker, lacks = closest(beside, rules.memory_headroom)
    reason = "waits for memory beside the jobs in training"
    return (
        f"{reason}: with it they need {_listed(lacks, f'worker {worker.id}')}" if lacks else reason
    )


def _listed(lacks: Sequence[Shortage], whose: str) -> str:
    return " and ".join(
        f"{gib(lack.needed_bytes)} of {lack.memory} with headroom, where {whose} has "
        f"{gib(lack.budget_bytes)}"
        for lack in lacks
    )


def gib(count: float) -> str:
    return f"{count / (1 << 30):.2f} GiB"
