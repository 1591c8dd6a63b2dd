"""Carries decisions out. Each rests on a view of the job that may be out of date by now; then the
store refuses the change, and the next look at the cluster decides anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from pando_scheduler import halving
from pando_scheduler.decision_spans import decision_span, placing_span
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
from pando_scheduler.fairness import credited
from pando_scheduler.halving import ParkTrial, StopTrial
from pando_scheduler.rules import Rules
from pando_shared import lifecycle
from pando_shared.clock import Clock
from pando_shared.errors import Conflict, NotFound, Unavailable
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobFailure, JobState, Lease, YieldCause
from pando_shared.log_context import add_to_log_context, log_context
from pando_shared.policy import Policy
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import Change, Store
from pando_shared.store.messages import Messenger
from pando_shared.tracing import current_span
from pando_shared.workers import Assignment, Round

log = logging.getLogger(__name__)

#: The causes for which a job's number of preemptions grows, which bounds them.
_PREEMPTIONS = frozenset({YieldCause.PRIORITY, YieldCause.RECLAIM, YieldCause.SHORTER})

#: Why a job fails whose workers were lost too often.
_WORKER_LOST = "worker_lost"


class Executor:
    """Turns decisions into changes of the store, records in storage and messages."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        messenger: Messenger,
        clock: Clock,
        rules: Rules,
        policy: Callable[[], Policy],
        job_of: Callable[[str], Job | None],
    ):
        """`policy` gives the one in force, `job_of` a job as it was last seen."""
        self._store = store
        self._storage = storage
        self._messenger = messenger
        self._clock = clock
        self._rules = rules
        self._policy = policy
        self._job_of = job_of

    def execute(self, decision: Decision) -> int:
        """Carry out one decision; tells how many jobs it placed.

        Raises:
            Unavailable: the store or the broker is away. What is half done is found and finished
                by a later look.
        """
        level = logging.DEBUG if isinstance(decision, RenewLease) else logging.INFO
        with _context_of(decision), decision_span(decision, self._job_of):
            log.log(level, "%s", decision)
            try:
                return self._execute(decision)
            except (Conflict, NotFound) as error:
                log.info("overtaken by events: %s", error.message)
                return 0

    def _execute(self, decision: Decision) -> int:
        match decision:
            case PlaceRound():
                return self._place_round(decision)
            case Requeue():
                self._transition(decision.job_id, lambda job: self._requeued(job, decision))
            case Fail():
                current_span().fail(_WORKER_LOST)
                self._transition(decision.job_id, lambda job: self._failed(job, decision))
            case ReleaseLease():
                self._transition(decision.job_id, lambda job: _released(job, decision))
            case RenewLease():
                self._store.update_job(decision.job_id, lambda job: _renewed(job, decision))
            case AskToLeave():
                self._store.update_job(decision.job_id, lambda job: self._asked(job, decision))
            case StopTrial():
                now = self._clock.now()
                self._transition(decision.job_id, lambda job: halving.stopped(job, decision, now))
            case ParkTrial():
                now = self._clock.now()
                self._store.update_job(
                    decision.job_id, lambda job: halving.parked(job, decision, now)
                )
            case DropRound():
                self._store.end_round(decision.round_id)
            case Reprepare():
                self._messenger.prepare(decision.job_id)
        return 0

    def _place_round(self, decision: PlaceRound) -> int:
        if decision.replaces is not None and not self._store.withdraw_round(decision.replaces):
            log.info("round %s has begun; its successor will be planned", decision.replaces)
            return 0
        joined = [
            placed
            for wanted in decision.joining
            if (placed := self._place_job(wanted, decision)) is not None
        ]
        assignments = (*decision.staying, *joined)
        if not assignments and decision.joining:
            return 0
        planned = Round(
            id=new_id("round"),
            worker_id=decision.worker_id,
            incarnation=decision.incarnation,
            base_model=decision.base_model,
            assignments=assignments,
            seconds=self._rules.round_seconds,
            predicted_bytes=decision.predicted_bytes,
            planned_at=self._clock.now(),
            shares={
                place.job_id: decision.shares[place.job_id]
                for place in assignments
                if place.job_id in decision.shares
            },
            headroom=decision.headroom,
        )
        add_to_log_context(round_id=planned.id)
        log.info("round %s has %d jobs", planned.id, len(assignments))
        self._store.plan_round(planned)
        try:
            self._messenger.round(planned.worker_id, planned.id)
        except Unavailable:
            self._store.withdraw_round(planned.id)
            raise
        return len(joined)

    def _place_job(self, wanted: Assignment, decision: PlaceRound) -> Assignment | None:
        known = self._job_of(wanted.job_id)
        with log_context(job_id=wanted.job_id), placing_span(known):
            try:
                job = self._transition(
                    wanted.job_id, lambda job: self._placed(job, wanted, decision)
                )
            except (Conflict, NotFound) as error:
                log.info("not placed: %s", error.message)
                return None
        return Assignment(job.id, job.epoch)

    def _transition(self, job_id: str, change: Callable[[Job], Change]) -> Job:
        return lifecycle.transition(self._store, self._storage, job_id, change)

    def _placed(self, job: Job, wanted: Assignment, decision: PlaceRound) -> Change:
        job.fenced(wanted.epoch)
        _expect_lease(job, None)
        now = self._clock.now()
        lease = Lease(decision.worker_id, decision.incarnation, now + self._rules.lease_seconds)
        placed = replace(
            job.to(JobState.RUNNING),
            epoch=job.epoch + 1,
            lease=lease,
            started_at=now if job.started_at is None else job.started_at,
            placed_at=now,
            waited_seconds=job.waited_seconds + max(0.0, now - job.waits_since),
        )
        return Change(placed, (Event(now, f"Placed on worker {decision.worker_id}"),))

    def _asked(self, job: Job, decision: AskToLeave) -> Change:
        job.fenced(decision.epoch)
        _expect_lease_of(job, decision.lease)
        if job.state is not JobState.RUNNING or job.yielding is not None:
            raise Conflict(f"job {job.id} is {job.state.value}, or leaves already")
        said = Event(self._clock.now(), f"Gives its place up: {decision.why.reason}")
        return Change(replace(job, yielding=decision.why), (said,))

    def _requeued(self, job: Job, decision: Requeue) -> Change:
        job.fenced(decision.epoch)
        _expect_lease(job, decision.lease)
        now = self._clock.now()
        requeued = replace(
            job.to(JobState.QUEUED),
            epoch=job.epoch + 1,
            lease=None,
            attempts=job.attempts + decision.lost,
            lost_on=_lost_on(job, decision),
            preemptions=job.preemptions + _is_preempted(job),
            queued_at=now,
            waited_seconds=credited(job.waited_seconds, self._policy()),
        )
        why = decision.reason if job.yielding is None else job.yielding.reason
        message = f"Queued again, from the last checkpoint: {why}"
        return Change(requeued, (Event(now, message, level="warn" if decision.lost else "info"),))

    def _failed(self, job: Job, decision: Fail) -> Change:
        job.fenced(decision.epoch)
        _expect_lease(job, decision.lease)
        now = self._clock.now()
        failed = replace(
            job.to(JobState.FAILED),
            epoch=job.epoch + 1,
            attempts=job.attempts + 1,
            finished_at=now,
            error=JobFailure(_WORKER_LOST, decision.reason),
        )
        return Change(failed, (Event(now, f"Failed: {decision.reason}", level="error"),))


def _context_of(decision: Decision) -> AbstractContextManager[None]:
    """What log lines name while a decision is carried out."""
    match decision:
        case PlaceRound():
            return log_context(worker_id=decision.worker_id)
        case DropRound():
            return log_context(round_id=decision.round_id)
        case _:
            return log_context(job_id=decision.job_id)


def _released(job: Job, decision: ReleaseLease) -> Change:
    job.fenced(decision.epoch)
    _expect_lease(job, decision.lease)
    return Change(replace(job, lease=None, epoch=job.epoch + 1))


def _renewed(job: Job, decision: RenewLease) -> Job:
    job.fenced(decision.epoch)
    _expect_lease(job, decision.lease)
    return replace(job, lease=replace(decision.lease, expires_at=decision.expires_at))


def _lost_on(job: Job, decision: Requeue) -> tuple[str, ...]:
    """The workers that were lost with the job, this one among them if it was."""
    if not decision.lost or decision.lease is None:
        return job.lost_on
    return tuple(sorted({*job.lost_on, decision.lease.worker_id}))


def _is_preempted(job: Job) -> bool:
    """Whether it leaves for another job's sake."""
    return job.yielding is not None and job.yielding.cause in _PREEMPTIONS


def _expect_lease_of(job: Job, lease: Lease) -> None:
    """The worker renews its lease all the time; what counts is that it is still the one."""
    held = job.lease
    if held is None or (held.worker_id, held.incarnation) != (lease.worker_id, lease.incarnation):
        raise Conflict(f"job {job.id} has another lease by now: {held}")


def _expect_lease(job: Job, lease: Lease | None) -> None:
    if job.lease != lease:
        raise Conflict(f"job {job.id} has another lease by now: {job.lease}")
