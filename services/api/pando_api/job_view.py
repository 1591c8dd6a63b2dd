"""A job as the wire shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from pando_api.integrations import shown_integrations
from pando_api.schemas.job_object import (
    DatasetObject,
    HalvingObject,
    Hyperparameters,
    JobError,
    JobObject,
    MethodObject,
    ProgressObject,
    Supervised,
)
from pando_shared.forecasts import Forecast
from pando_shared.jobs import DatasetSummary, HalvingRule, Job, JobState, Yield
from pando_shared.store import ForecastStore

_UNKNOWN = Forecast(job_id="", made_at=0.0)


def view(job: Job, forecast: Forecast | None) -> JobObject:
    """`forecast` is None where the scheduler has not looked at the job yet."""
    hyperparameters = _hyperparameters(job)
    # A forecast may be older than the job's state by a few seconds.
    waits = forecast if forecast is not None and job.state is JobState.QUEUED else _UNKNOWN
    return JobObject(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=_seconds(job.finished_at),
        estimated_finish=_seconds(_estimated_finish(job, forecast)),
        model=job.spec.model,
        fine_tuned_model=job.fine_tuned_model,
        organization_id=job.spec.tenant,
        status=job.state,
        training_file=job.spec.training_file,
        validation_file=job.spec.validation_file,
        result_files=list(job.result_files),
        trained_tokens=job.progress.trained_tokens if job.state.terminal else None,
        hyperparameters=hyperparameters,
        method=MethodObject(supervised=Supervised(hyperparameters=hyperparameters)),
        seed=job.spec.training.seed,
        error=_error(job),
        integrations=shown_integrations(job.spec.integrations) or None,
        metadata=dict(job.spec.metadata) or None,
        suffix=job.spec.suffix,
        adapter=asdict(job.spec.adapter),
        priority=job.spec.priority,
        group=job.spec.group,
        halving=_halving(job.spec.halving),
        queue_position=waits.position,
        blocked_reason=waits.reason,
        estimated_start=_seconds(waits.starts_at),
        yielding=_yielding(job.yielding),
        preemptions=job.preemptions,
        attempts=job.attempts,
        predicted_peak_bytes=job.predicted_peak_bytes,
        predicted_host_bytes=job.predicted_host_bytes,
        round_predicted_bytes=job.round_predicted_bytes,
        round_measured_bytes=job.round_measured_bytes,
        worker=job.lease.worker_id if job.lease else None,
        queued_at=_seconds(job.queued_at),
        started_at=_seconds(job.started_at),
        progress=ProgressObject.model_validate(job.progress),
        training_data=_dataset(job.training_data),
        validation_data=_dataset(job.validation_data),
    )


def view_one(store: ForecastStore, job: Job) -> JobObject:
    return view_many(store, [job])[0]


def view_many(store: ForecastStore, jobs: Iterable[Job]) -> list[JobObject]:
    jobs = list(jobs)
    foreseen = [job.id for job in jobs if job.state in (JobState.QUEUED, JobState.RUNNING)]
    found = dict(zip(foreseen, store.forecasts(foreseen), strict=True)) if foreseen else {}
    return [view(job, found.get(job.id)) for job in jobs]


def _estimated_finish(job: Job, forecast: Forecast | None) -> float | None:
    """The scheduler's, which knows who comes and goes, else the worker's own."""
    if job.state in (JobState.QUEUED, JobState.RUNNING) and forecast is not None:
        return forecast.finishes_at
    return job.estimated_finish


def _yielding(found: Yield | None) -> str | None:
    return None if found is None else f"leaves its worker: {found.reason}"


def _hyperparameters(job: Job) -> Hyperparameters:
    """Resolved values once the data is known; "auto" before, where the user left them open."""
    asked = job.spec.training
    config = job.training or asked
    return Hyperparameters(
        n_epochs=config.n_epochs or "auto",
        batch_size=config.batch_size or "auto",
        learning_rate_multiplier=asked.learning_rate_multiplier,
        learning_rate=config.learning_rate or "auto",
        lr_scheduler=config.lr_scheduler,
        warmup_ratio=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        max_seq_length=config.max_seq_length or "auto",
        overlong=config.overlong,
        early_stopping_patience=config.early_stopping_patience,
        max_steps=config.max_steps,
    )


def _error(job: Job) -> JobError | None:
    if job.error is None:
        return None
    return JobError(code=job.error.code, message=job.error.message, param=job.error.param)


def _dataset(summary: DatasetSummary | None) -> DatasetObject | None:
    return None if summary is None else DatasetObject.model_validate(summary)


def _halving(rule: HalvingRule | None) -> HalvingObject | None:
    return None if rule is None else HalvingObject.model_validate(rule)


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
