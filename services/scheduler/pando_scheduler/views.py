"""From the store's records to what the policy sees of them: pure."""

from __future__ import annotations

from collections.abc import Mapping

from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import (
    JobSize,
    JobView,
    WorkerKind,
    WorkerView,
    job_size,
    worker_kind,
)
from pando_shared.jobs import Job, JobState
from pando_shared.workers import Worker

#: What is taken for a step, and for the whole job, while its data has not been counted.
_ASSUMED_STEP_TOKENS = 1024.0
_ASSUMED_SECONDS = 600.0
#: Measured bytes of a base are compared in steps: two like workers differ by a little.
_RESIDENT_STEP_BYTES = 16 << 20


def view_worker(worker: Worker, draining: bool) -> WorkerView:
    return WorkerView(
        id=worker.id,
        kind=kind_of(worker),
        bases=frozenset(worker.models) if worker.models else None,
        draining=draining,
    )


def kind_of(worker: Worker) -> WorkerKind:
    steps = -(-worker.resident_bytes // _RESIDENT_STEP_BYTES)
    return worker_kind(
        worker.device,
        worker.device_kind,
        worker.budget_bytes,
        worker.token_budget,
        worker.base_format,
        worker.host_budget_bytes,
        worker.rows_on_disk,
        worker.base_model,
        steps * _RESIDENT_STEP_BYTES,
    )


def size_of(job: Job) -> JobSize:
    longest = job.training_data.longest if job.training_data is not None else 0
    return job_size(job.spec.adapter, step_tokens(job), longest, job.out_of_memory)


def step_tokens(job: Job) -> float:
    """Tokens of one optimizer step, in the mean."""
    data, plan, steps = job.training_data, job.training, job.progress.total_steps
    if data is None or plan is None or not steps or not data.examples:
        return _ASSUMED_STEP_TOKENS
    batch = plan.batch_size or 1
    return data.tokens / data.examples * min(batch, data.examples)


def tokens_left(job: Job) -> float | None:
    """What is still to be trained; None while the data has not been counted."""
    if job.training_data is None or not job.progress.total_steps:
        return None
    left = max(0, job.progress.total_steps - job.progress.step)
    return left * step_tokens(job)


def view_job(
    job: Job,
    kind: WorkerKind | None,
    predict: LearntPredictor,
    workers: Mapping[str, WorkerView],
    now: float,
    suspect_attempts: int,
) -> JobView:
    """`kind` is what its time is told for; None: no worker offers its base. A job that was lost
    `suspect_attempts` times may be what kills its workers."""
    size, tokens = size_of(job), tokens_left(job)
    if tokens is None or kind is None:
        seconds = _ASSUMED_SECONDS
    else:
        seconds = predict.alone_seconds(size, job.spec.model, tokens, kind)
    running = job.state is JobState.RUNNING
    placed_at = job.placed_at if job.placed_at is not None else now
    holds = job.lease is not None
    suspect = job.attempts >= suspect_attempts
    return JobView(
        id=job.id,
        tenant=job.spec.tenant,
        base_model=job.spec.model,
        rank=job.spec.priority.rank,
        created_at=job.created_at,
        # What it has waited before counts on.
        queued_at=(placed_at if holds and running else job.waits_since) - job.waited_seconds,
        size=size,
        seconds_left=seconds,
        memory_ratio=None if job.memory_ratio is None else round(job.memory_ratio, 2),
        worker_id=job.lease.worker_id if job.lease is not None else None,
        running=running,
        yielding=job.yielding is not None,
        placed_at=placed_at,
        ends_at=job.estimated_finish or now + seconds,
        preemptions=job.preemptions,
        alone=suspect or job.out_of_memory > 0,
        avoids=_avoids(job, workers) if suspect else (),
    )


def _avoids(job: Job, workers: Mapping[str, WorkerView]) -> tuple[str, ...]:
    """Workers that were lost with the job, as long as there are others for it."""
    others = (
        worker
        for worker in workers.values()
        if worker.id not in job.lost_on and worker.offers(job.spec.model) and not worker.draining
    )
    return job.lost_on if job.lost_on and next(others, None) is not None else ()
