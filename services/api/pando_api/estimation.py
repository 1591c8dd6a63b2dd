"""What a job would take: data, steps, memory, time. Nothing is created."""

from __future__ import annotations

from collections.abc import Sequence

from pando_api.schemas.estimate import Estimate
from pando_api.services import Services
from pando_api.token_count import count_tokens
from pando_shared import layout
from pando_shared.fleet import largest, live_workers, offering, predict_on
from pando_shared.jobs import Job, JobSpec, JobState
from pando_shared.training import resolve
from pando_shared.workers import Worker


def estimate(services: Services, spec: JobSpec) -> Estimate:
    """Raises InvalidTrainingFile if the data cannot be read."""
    base = services.catalogue[spec.model]
    with services.storage.reading(layout.file_content(spec.training_file)) as stream:
        count = count_tokens(stream, str(base.path))
    plan = resolve(spec.training, spec.adapter, count.examples)
    share = plan.total_steps / plan.steps_per_epoch
    tokens = round(count.tokens * share)
    now = services.clock.now()
    workers = offering(live_workers(services.store, services.settings, now), spec.model)
    roomiest = largest(workers, spec.model, services.settings)
    speed = max((worker.tokens_per_second for worker in workers), default=0.0)
    needs = predict_on(roomiest, base, [spec.adapter])
    return Estimate(
        model=spec.model,
        method=spec.adapter.type,
        examples=count.examples,
        n_epochs=plan.n_epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        tokens=tokens,
        token_count=count.basis,
        steps=plan.total_steps,
        predicted_peak_bytes=needs.device_bytes,
        predicted_host_bytes=needs.host_bytes,
        largest_worker_bytes=roomiest.budget_bytes if workers else None,
        largest_worker_host_bytes=roomiest.host_budget_bytes if workers else None,
        duration_seconds=tokens / speed if speed > 0 else None,
        earliest_start=_earliest_start(services, spec, workers, now),
    )


def _earliest_start(
    services: Services, spec: JobSpec, workers: Sequence[Worker], now: float
) -> int | None:
    """Now, if nobody of at least this priority waits; else after the work that waits."""
    if not workers:
        return None
    ahead = [
        job
        for job in services.store.jobs_in(JobState.QUEUED)
        if job.spec.priority.rank <= spec.priority.rank
    ]
    if not ahead:
        return int(now)
    speed = sum(worker.tokens_per_second for worker in workers)
    remaining = [_remaining_tokens(job) for job in ahead]
    if speed <= 0 or None in remaining:
        return None
    return int(now + sum(tokens for tokens in remaining if tokens is not None) / speed)


def _remaining_tokens(job: Job) -> float | None:
    """None until the job's data has been read."""
    if job.training_data is None or job.training is None or job.progress.total_steps == 0:
        return None
    epochs = job.training.n_epochs or 1
    left = 1 - job.progress.step / job.progress.total_steps
    return job.training_data.tokens * epochs * left
