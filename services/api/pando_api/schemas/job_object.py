"""A fine-tuning job as the client reads it: OpenAI's fields, then ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pando_api.schemas.integrations import IntegrationObject
from pando_api.schemas.paging import Listed
from pando_shared.jobs import JobState, Priority
from pando_shared.rungs import shown_loss

#: Null where validation gave no finite number.
RungLoss = Annotated[float | None, BeforeValidator(shown_loss)]


class Hyperparameters(BaseModel):
    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]
    learning_rate: float | Literal["auto"]
    lr_scheduler: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    max_seq_length: int | Literal["auto"]
    overlong: str
    early_stopping_patience: int
    max_steps: int | None


class Supervised(BaseModel):
    hyperparameters: Hyperparameters


class MethodObject(BaseModel):
    type: Literal["supervised"] = "supervised"
    supervised: Supervised


class JobError(BaseModel):
    code: str
    message: str
    param: str | None = None


class ProgressObject(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    step: int
    total_steps: int
    epoch: float
    trained_tokens: int
    train_loss: float | None
    first_loss: float | None
    valid_loss: float | None
    best_valid_loss: float | None
    learning_rate: float
    tokens_per_second: float
    checkpoint_step: int
    rung_losses: list[RungLoss]


class HalvingObject(BaseModel):
    """Successive halving: at each of `rungs` points the best 1/`eta` of the group go on."""

    model_config = ConfigDict(from_attributes=True)

    eta: int
    rungs: int


class DatasetObject(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    format: str
    examples: int
    tokens: int
    target_tokens: int
    longest: int
    truncated: int


class JobObject(Listed):
    """Times are Unix seconds, sizes bytes. A job that failed carries the reason in `error`.

    `queue_position`, `blocked_reason`, `estimated_start` and `estimated_finish` come from the
    scheduler, every few seconds: null until it has looked, and where nothing can be said.
    `yielding` says why a job that trains is about to be queued again. `preemptions` counts how
    often it left for others, `attempts` the workers that were lost with it since it last got on.
    """

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: JobState
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    hyperparameters: Hyperparameters
    method: MethodObject
    seed: int
    error: JobError | None
    integrations: list[IntegrationObject] | None = None
    metadata: dict[str, str] | None
    suffix: str | None

    adapter: dict[str, Any]
    priority: Priority
    group: str | None
    halving: HalvingObject | None
    queue_position: int | None
    blocked_reason: str | None
    estimated_start: int | None
    yielding: str | None
    preemptions: int
    attempts: int
    predicted_peak_bytes: int | None
    predicted_host_bytes: int | None
    round_predicted_bytes: int | None
    round_measured_bytes: int | None
    worker: str | None
    queued_at: int | None
    started_at: int | None
    progress: ProgressObject
    training_data: DatasetObject | None
    validation_data: DatasetObject | None
