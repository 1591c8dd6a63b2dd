"""`schedule`: the whole decision, a pure function of a snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pando_scheduler import policy
from pando_scheduler.cluster import ClusterState, Predictor, Rules
from pando_scheduler.decisions import Block, Decision, PlaceRound, RenewLease
from pando_scheduler.reaper import reap_leases, reap_prepares, reap_rounds
from pando_scheduler.seats import Seats, seats_of
from pando_shared.jobs import Job, JobState
from pando_shared.workers import Assignment


def schedule(state: ClusterState, now: float, rules: Rules, predict: Predictor) -> list[Decision]:
    """What to do now: first what is taken back, then what is placed, then what stays blocked.

    A job leased to a live worker stays with it. Every worker with something to train has one
    round planned ahead, at most; a round that has not begun is planned anew when a job joins.
    """
    jobs = sorted(state.jobs, key=lambda job: job.id)
    workers = {worker.id: worker for worker in sorted(state.workers, key=lambda worker: worker.id)}
    rounds = sorted(state.rounds, key=lambda planned: (planned.planned_at, planned.id))
    drops = reap_rounds(rounds, workers, now, rules)
    dropped = {drop.round_id for drop in drops}
    decisions: list[Decision] = [
        *reap_prepares(jobs, state.prepares, now, rules),
        *drops,
        *reap_leases(jobs, workers, now, rules),
    ]
    fleet = seats_of(
        (worker for worker in workers.values() if rules.alive(worker, now)),
        (job for job in jobs if job.lease and rules.holds(job.lease, workers, now)),
        (planned for planned in rounds if planned.id not in dropped),
        rules,
        predict,
    )
    blocked = _fill(fleet, [job for job in jobs if job.state is JobState.QUEUED], now, rules)
    for seats in fleet:
        decisions += _renewals(seats, now, rules)
        decisions += _next_round(seats)
    return decisions + blocked


def _fill(fleet: Sequence[Seats], queued: list[Job], now: float, rules: Rules) -> list[Block]:
    """Seat the queue; returns the explanations of those left over whose reason is a new one."""
    reserved: set[str] = set()
    left_over: list[tuple[Job, frozenset[str]]] = []
    for job in policy.order(queued):
        if job.lease is not None:
            left_over.append((job, frozenset()))
        elif (seats := policy.admit(job, fleet, reserved)) is not None:
            seats.joining.append(job)
        else:
            left_over.append((job, frozenset(reserved)))
            if (kept := policy.reserve(job, fleet, reserved, now, rules)) is not None:
                reserved.add(kept.worker.id)
    # Only now do the seats hold what the next look will find there.
    reasons = ((job, _reason(job, fleet, kept, rules)) for job, kept in left_over)
    return [
        Block(job.id, job.epoch, reason) for job, reason in reasons if reason != job.blocked_reason
    ]


def _reason(job: Job, fleet: Sequence[Seats], reserved: Collection[str], rules: Rules) -> str:
    if job.lease is not None:
        return f"waits for worker {job.lease.worker_id} to save its checkpoint"
    return policy.explain(job, fleet, reserved, rules)


def _renewals(seats: Seats, now: float, rules: Rules) -> list[RenewLease]:
    """Leases of jobs in a live worker's rounds that the worker itself does not renew yet: the
    round waits in its queue, or it is still loading the base."""
    in_rounds = {place for planned in seats.rounds for place in planned.assignments}
    return [
        RenewLease(job.id, job.epoch, job.lease, now + rules.lease_seconds, "its round is not over")
        for job in seats.staying
        if job.lease is not None
        and _assignment(job) in in_rounds
        and job.lease.expires_at - now < rules.lease_seconds / 2
    ]


def _next_round(seats: Seats) -> list[PlaceRound]:
    """Plan a worker's next round if it has none ahead, or the one ahead lacks a job.

    A worker that holds only jobs about to leave gets an empty round: it lets go of them there.
    """
    staying = tuple(_assignment(job) for job in seats.staying)
    joining = tuple(_assignment(job) for job in seats.joining)
    planned = seats.planned
    if planned is not None and not joining and set(staying) <= set(planned.assignments):
        return []
    if not (staying or joining) and (seats.rounds or not seats.occupants):
        return []
    needs, base_model = seats.needs_with(), seats.base_model
    if base_model is None or needs is None:
        return []
    worker = seats.worker
    room = f"{policy.gib(needs.device_bytes)} predicted of {policy.gib(worker.budget_bytes)}"
    if worker.host_budget_bytes is not None:
        host = policy.gib(worker.host_budget_bytes)
        room += f", of the host {policy.gib(needs.host_bytes)} of {host}"
    return [
        PlaceRound(
            worker_id=worker.id,
            incarnation=worker.incarnation,
            base_model=base_model,
            staying=staying,
            joining=joining,
            predicted_bytes=needs.device_bytes,
            replaces=None if planned is None else planned.id,
            reason=f"{len(staying)} stay, {len(joining)} join; {room}",
        )
    ]


def _assignment(job: Job) -> Assignment:
    return Assignment(job.id, job.epoch)
