"""What a job would take: data, steps, memory, time. Nothing is created."""

from __future__ import annotations

from collections.abc import Sequence

from pando_api.schemas.estimate import Estimate
from pando_api.services import Services
from pando_api.site import Site
from pando_api.token_count import count_tokens
from pando_shared import layout
from pando_shared.fleet import expected_needs, is_alive, largest, offering
from pando_shared.jobs import JobSpec, JobState
from pando_shared.training import resolve
from pando_shared.workers import Worker


def estimate(services: Services, site: Site, spec: JobSpec) -> Estimate:
    """Raises InvalidTrainingFile if the data cannot be read."""
    base = services.catalogue[spec.model]
    with services.storage.reading(layout.file_content(spec.training_file)) as stream:
        count = count_tokens(stream, str(base.path))
    plan = resolve(spec.training, spec.adapter, count.examples)
    share = plan.total_steps / plan.steps_per_epoch
    tokens = round(count.tokens * share)
    now = services.clock.now()
    able = offering(site.workers, spec.model)
    workers = [worker for worker in able if is_alive(worker, services.settings, now)]
    roomiest = largest(workers, spec.model, services.settings)
    step_tokens = tokens / max(1, plan.total_steps)
    speed = max((_speed(site, worker, spec, step_tokens) for worker in workers), default=0.0)
    learnt = site.calibration(base.name, roomiest.device_kind)
    needs = expected_needs(roomiest, base, spec.adapter, learnt, site.start_headroom)
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


def _speed(site: Site, worker: Worker, spec: JobSpec, step_tokens: float) -> float:
    """Tokens a second of the job alone on the worker; of what trained there last, where no round
    has taught more. 0: nothing is known."""
    model = site.speed(spec.model, worker.device_kind)
    if not model.errors.rounds:
        return worker.tokens_per_second
    return model.alone_tokens_per_second(step_tokens, spec.adapter.type)


def _earliest_start(
    services: Services, spec: JobSpec, workers: Sequence[Worker], now: float
) -> int | None:
    """When the last of the jobs that come first starts: those that wait and are of no lower class.

    Those that nobody could train, or that are held back, keep no place. None: no worker is alive,
    or the scheduler has not looked at one of them yet.
    """
    if not workers:
        return None
    ahead = [
        job.id
        for job in services.store.jobs_in(JobState.QUEUED)
        if job.spec.priority.rank <= spec.priority.rank
    ]
    forecasts = services.store.forecasts(ahead)
    if None in forecasts:
        return None
    starts = (found.starts_at for found in forecasts if found is not None)
    return int(max([now, *(at for at in starts if at is not None)]))
