"""Spans of what the scheduler does: to a job in the job's trace, of a round in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pando_scheduler.decisions import (
    AskToLeave,
    Decision,
    DropRound,
    Fail,
    PlaceRound,
    ReleaseLease,
    RenewLease,
    Reprepare,
    Requeue,
)
from pando_scheduler.halving import ParkTrial, StopTrial
from pando_shared.jobs import Job
from pando_shared.tracing import Span, current_traceparent, is_tracing, span

_NAMES = {
    AskToLeave: "ask job to leave",
    Fail: "fail job",
    ParkTrial: "park trial",
    ReleaseLease: "release lease",
    Reprepare: "ask for preparation",
    Requeue: "requeue job",
    StopTrial: "stop trial",
}


def decision_span(
    decision: Decision, job_of: Callable[[str], Job | None]
) -> AbstractContextManager[Span]:
    """While it is carried out. A round's is linked to the jobs that the round is to train; of what
    is done again and again, without an end for a job, there is none."""
    if not is_tracing() or isinstance(decision, RenewLease | DropRound):
        return nullcontext(Span())
    if isinstance(decision, PlaceRound):
        places = (*decision.staying, *decision.joining)
        jobs = [job_of(place.job_id) for place in places]
        return span(
            "plan round",
            kind="producer",
            links=[job.traceparent for job in jobs if job is not None],
            base_model=decision.base_model,
            jobs=len(places),
        )
    return _job_span(_NAMES[type(decision)], job_of(decision.job_id))


def placing_span(job: Job | None) -> AbstractContextManager[Span]:
    """While one job of a round is given its place; linked to the round's planning."""
    return _job_span("place job", job, current_traceparent())


def _job_span(name: str, job: Job | None, link: str | None = None) -> AbstractContextManager[Span]:
    if job is None:
        return span(name)
    return span(name, parent=job.traceparent, links=[link], tenant=job.spec.tenant)
