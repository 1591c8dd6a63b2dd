"""A fine-tuning job as the client reads it: OpenAI's fields, then ours."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pando_api.schemas.paging import Listed
from pando_shared.jobs import JobState, Priority


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


class DatasetObject(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    format: str
    examples: int
    tokens: int
    target_tokens: int
    longest: int
    truncated: int


class JobObject(Listed):
    """Times are Unix seconds, sizes bytes. A job that failed carries the reason in `error`."""

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
    integrations: list[Any] | None = None
    metadata: dict[str, str] | None
    suffix: str | None

    adapter: dict[str, Any]
    priority: Priority
    group: str | None
    queue_position: int | None
    blocked_reason: str | None
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
