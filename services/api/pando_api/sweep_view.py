"""A sweep as the wire shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pando_api.schemas.job_object import HalvingObject
from pando_api.schemas.sweeps import SweepObject, TrialObject
from pando_api.sweep_grid import values_of
from pando_shared.jobs import Job, JobState

#: The first of these that a trial is in is what the sweep is.
_LIVE = (JobState.RUNNING, JobState.QUEUED, JobState.VALIDATING, JobState.PAUSED)
_ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def view_sweep(trials: Sequence[Job]) -> SweepObject:
    """`trials` are all of one sweep."""
    ranks = _ranks(trials)
    rule = trials[0].spec.halving
    return SweepObject(
        id=trials[0].spec.group or "",
        created_at=int(min(job.created_at for job in trials)),
        model=trials[0].spec.model,
        halving=None if rule is None else HalvingObject.model_validate(rule),
        status=_status(trials),
        best_job_id=min(ranks, key=lambda job_id: ranks[job_id], default=None),
        trials=[_trial(job, ranks.get(job.id)) for job in trials],
    )


def _trial(job: Job, rank: int | None) -> TrialObject:
    return TrialObject(
        job_id=job.id,
        values=values_of(job.spec.metadata),
        status=job.state,
        step=job.progress.step,
        total_steps=job.progress.total_steps,
        rung_losses=list(job.progress.rung_losses),
        valid_loss=job.progress.valid_loss,
        rank=rank,
        fine_tuned_model=job.fine_tuned_model,
    )


def _ranks(trials: Sequence[Job]) -> dict[str, int]:
    """Trained to the end before not, then who came further in the race, then the lower loss."""
    judged = [job for job in trials if job.state is not JobState.FAILED and _loss(job) is not None]
    ranked = sorted(
        judged,
        key=lambda job: (
            job.state is not JobState.SUCCEEDED,
            0 if job.state is JobState.SUCCEEDED else -len(job.progress.rung_losses),
            _loss(job),
            job.id,
        ),
    )
    return {job.id: rank for rank, job in enumerate(ranked, 1)}


def _loss(job: Job) -> float | None:
    loss = job.progress.valid_loss
    return None if loss is None or not math.isfinite(loss) else loss


def _status(trials: Sequence[Job]) -> JobState:
    states = {job.state for job in trials}
    return next(state for state in (*_LIVE, *_ENDED) if state in states)
