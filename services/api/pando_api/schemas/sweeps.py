"""A sweep: what it may ask for, and how it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from pando_api.schemas.job_create import JobCreate
from pando_api.schemas.job_object import HalvingObject, RungLoss
from pando_api.schemas.paging import Listed
from pando_api.schemas.strict import StrictModel
from pando_shared.jobs import JobState

#: The most trials of one sweep.
MAX_TRIALS = 256


class HalvingKnobs(StrictModel):
    eta: int = Field(3, ge=2, le=16, description="The best 1/eta of the trials go on.")
    rungs: int = Field(2, ge=1, le=8, description="How often: at 1/eta of training, 1/eta², ...")


class SweepCreate(JobCreate):
    """A job's body, and what its trials differ in. All other knobs are those of every trial."""

    grid: Annotated[dict[str, list[Any]], Field(min_length=1)] = Field(
        description="Values of each knob to try: any hyperparameter, seed, adapter (whole), or one "
        "knob of the adapter, as in adapter.rank.",
        examples=[{"learning_rate": [1e-4, 3e-4], "adapter.rank": [8, 16]}],
    )
    samples: int | None = Field(
        None, ge=1, le=MAX_TRIALS, description="Try so many points of the grid, drawn by seed."
    )
    halving: HalvingKnobs | None = Field(
        None,
        description="Successive halving on validation loss; on unless null, given a "
        "validation_file.",
    )


class TrialObject(BaseModel):
    """`rank` 1 is the best so far; null until there is a validation loss, and once it failed."""

    job_id: str
    values: dict[str, Any]
    status: JobState
    step: int
    total_steps: int
    rung_losses: list[RungLoss]
    valid_loss: float | None
    rank: int | None
    fine_tuned_model: str | None


class SweepObject(Listed):
    """`status` is that of its trials together: it has succeeded once all have ended and one has
    succeeded. `best_job_id` is the trial of rank 1."""

    object: Literal["fine_tuning.sweep"] = "fine_tuning.sweep"
    created_at: int
    model: str
    halving: HalvingObject | None
    status: JobState
    best_job_id: str | None
    trials: list[TrialObject]
