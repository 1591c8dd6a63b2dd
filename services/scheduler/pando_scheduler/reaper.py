"""What must be taken back: void leases, rounds that nobody will end, lost prepare messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pando_scheduler.decisions import DropRound, Fail, ReleaseLease, Reprepare, Requeue
from pando_scheduler.rules import PrepareSends, Rules
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.workers import Round, Worker


def reap_leases(
    jobs: Iterable[Job], workers: Mapping[str, Worker], now: float, rules: Rules
) -> list[Requeue | Fail | ReleaseLease]:
    """Free every job whose worker is gone, or count it out."""
    decisions: list[Requeue | Fail | ReleaseLease] = []
    for job in jobs:
        lease = job.lease
        if lease is None:
            if job.state is JobState.RUNNING:
                reason = "its worker gave it back"
                decisions.append(Requeue(job.id, job.epoch, None, lost=False, reason=reason))
            continue
        if rules.holds(lease, workers, now):
            continue
        reason = _why_lost(lease, workers.get(lease.worker_id))
        if job.state is not JobState.RUNNING:
            decisions.append(ReleaseLease(job.id, job.epoch, lease, reason))
        elif job.attempts + 1 >= rules.max_attempts:
            reason += (
                f", {job.attempts + 1} times without a checkpoint in between; the job is "
                "quarantined, as it may be what kills them: look at its data and settings"
            )
            decisions.append(Fail(job.id, job.epoch, lease, reason))
        else:
            decisions.append(Requeue(job.id, job.epoch, lease, lost=True, reason=reason))
    return decisions


def _why_lost(lease: Lease, worker: Worker | None) -> str:
    reason = f"worker {lease.worker_id} was lost"
    if worker is not None and worker.killed_for_memory == lease.incarnation:
        budget_mib = worker.budget_bytes >> 20
        reason += (
            ": the kernel killed its process because memory ran out, of which it counted on "
            f"{budget_mib:,} MiB; give it more, or lower its PANDO_MEMORY_BYTES"
        )
    return reason


def reap_rounds(
    rounds: Iterable[Round], workers: Mapping[str, Worker], now: float, rules: Rules
) -> list[DropRound]:
    """Drop rounds of workers that are gone, rounds that never end and rounds never begun."""
    rounds = list(rounds)
    running = {planned.worker_id for planned in rounds if planned.started_at is not None}
    decisions = []
    for planned in rounds:
        worker = workers.get(planned.worker_id)
        reason = None
        if worker is None or worker.incarnation != planned.incarnation:
            reason = f"worker {planned.worker_id} has restarted"
        elif not rules.alive(worker, now):
            reason = f"worker {planned.worker_id} is silent"
        elif planned.started_at is not None:
            if now > planned.started_at + planned.seconds + rules.overdue_seconds:
                reason = "its end is long overdue"
        elif (
            planned.worker_id not in running
            and now > planned.planned_at + planned.seconds + rules.message_seconds
        ):
            reason = "its message was lost"
        if reason is not None:
            decisions.append(DropRound(planned.id, reason))
    return decisions


def reap_prepares(
    jobs: Iterable[Job], sends: Mapping[str, PrepareSends], now: float, rules: Rules
) -> list[Reprepare]:
    """Send lost prepare messages again, at doubling intervals: a large file just takes long."""
    decisions = []
    for job in jobs:
        if job.state is not JobState.VALIDATING:
            continue
        sent = sends.get(job.id, PrepareSends(0, job.created_at))
        if now >= sent.last_at + rules.prepare_seconds * 2**sent.count:
            reason = f"in validation since {now - job.created_at:.0f} s"
            decisions.append(Reprepare(job.id, reason))
    return decisions
