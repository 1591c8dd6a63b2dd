"""Rounds: what each worker is to train next, and the leases that its rounds keep alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pando_scheduler.cluster import Cluster
from pando_scheduler.decisions import PlaceRound, RenewLease
from pando_scheduler.fairness import job_weights
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.plan import Plan
from pando_scheduler.rules import Rules
from pando_scheduler.wording import gib
from pando_shared.jobs import Job, JobState
from pando_shared.memory import Needs
from pando_shared.policy import Policy
from pando_shared.workers import Assignment, Round, Worker


def next_rounds(
    cluster: Cluster,
    plan: Plan,
    jobs: Mapping[str, Job],
    workers: Mapping[str, Worker],
    rounds: Sequence[Round],
    predict: LearntPredictor,
) -> list[PlaceRound]:
    """Every worker with something to train has one round planned ahead, at most; one that has not
    begun is planned anew when a job joins or must leave.

    A worker that holds only jobs about to leave gets an empty round: it lets go of them there.
    """
    ahead: dict[str, list[Round]] = {}
    for planned in sorted(rounds, key=lambda planned: (planned.planned_at, planned.id)):
        ahead.setdefault(planned.worker_id, []).append(planned)
    joining: dict[str, list[Job]] = {}
    for join in plan.joins:
        joining.setdefault(join.worker_id, []).append(jobs[join.job_id])
    leaving = {leave.job_id for leave in plan.leaves}
    found = []
    for worker_id in sorted(cluster.workers):
        held = [jobs[job_id] for job_id in sorted(cluster.on(worker_id))]
        staying = [
            job
            for job in held
            if job.state is JobState.RUNNING and job.yielding is None and job.id not in leaving
        ]
        placed = _next_round(
            cluster,
            workers[worker_id],
            held,
            staying,
            joining.get(worker_id, []),
            ahead.get(worker_id, []),
            predict,
        )
        if placed is not None:
            found.append(placed)
    return found


def _next_round(
    cluster: Cluster,
    worker: Worker,
    held: Sequence[Job],
    staying: Sequence[Job],
    joining: Sequence[Job],
    rounds: Sequence[Round],
    predict: LearntPredictor,
) -> PlaceRound | None:
    stay, join = tuple(map(_assignment, staying)), tuple(map(_assignment, joining))
    planned = next((ahead for ahead in rounds if ahead.started_at is None), None)
    if planned is not None and not join and set(stay) <= set(planned.assignments):
        return None
    if not (stay or join) and (rounds or not held):
        return None
    trained = (*staying, *joining) or held
    base_model = trained[0].spec.model
    needs, headroom = _set_aside(cluster, worker, trained, base_model, predict)
    room = f"{gib(needs.device_bytes)} set aside of {gib(worker.budget_bytes)}"
    if worker.host_budget_bytes is not None:
        room += f", of the host {gib(needs.host_bytes)} of {gib(worker.host_budget_bytes)}"
    return PlaceRound(
        worker_id=worker.id,
        incarnation=worker.incarnation,
        base_model=base_model,
        staying=stay,
        joining=join,
        predicted_bytes=needs.device_bytes,
        headroom=headroom,
        replaces=None if planned is None else planned.id,
        reason=f"{len(stay)} stay, {len(join)} join; {room}",
        shares=tenant_shares((*staying, *joining), cluster.policy),
    )


def _set_aside(
    cluster: Cluster,
    worker: Worker,
    jobs: Iterable[Job],
    base_model: str,
    predict: LearntPredictor,
) -> tuple[Needs, float]:
    """What jobs on a worker may take, and the head-room in it. A base that is configured here no
    more may have all: its jobs train on, and nobody joins them."""
    if not predict.knows(base_model):
        return Needs(worker.budget_bytes, worker.host_budget_bytes or 0), 0.0
    view = cluster.workers[worker.id]
    load = cluster.load_of(view, {job.id: v for job in jobs if (v := cluster.find(job.id))})
    needs = predict.needs(view, base_model, load.footprint)
    return needs, predict.headroom(view, base_model)


def tenant_shares(jobs: Iterable[Job], policy: Policy) -> dict[str, float]:
    """How tenants that train beside each other share a worker's tokens, by job id. Empty where
    there is only one tenant."""
    jobs = list(jobs)
    tenants = [job.spec.tenant for job in jobs]
    if len(set(tenants)) < 2:
        return {}
    return dict(zip((job.id for job in jobs), job_weights(tenants, policy), strict=True))


def renewals(
    cluster: Cluster, jobs: Mapping[str, Job], rounds: Iterable[Round], now: float, rules: Rules
) -> list[RenewLease]:
    """Leases of jobs in a live worker's rounds that the worker itself does not renew yet: the
    round waits in its queue, or it is still loading the base."""
    found = []
    for planned in rounds:
        if planned.worker_id not in cluster.workers:
            continue
        for place in planned.assignments:
            job = jobs.get(place.job_id)
            if (
                job is not None
                and job.lease is not None
                and job.epoch == place.epoch
                and job.lease.worker_id == planned.worker_id
                and job.state is JobState.RUNNING
                and job.lease.expires_at - now < rules.lease_seconds / 2
            ):
                until = now + rules.lease_seconds
                why = "its round is not over"
                found.append(RenewLease(job.id, job.epoch, job.lease, until, why))
    return found


def _assignment(job: Job) -> Assignment:
    return Assignment(job.id, job.epoch)
