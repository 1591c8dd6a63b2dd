"""What a fine-tuning job may ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pando_api.schemas.integrations import IntegrationObject
from pando_api.schemas.strict import StrictModel

Auto = Literal["auto"]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]

#: Larger than anyone trains and small enough to stay exact in JSON, Lua and float64.
_MANY = 10**9


class Knobs(StrictModel):
    """Hyperparameters: OpenAI's three, then ours. "auto" and null leave the choice to Pando."""

    n_epochs: Annotated[int, Field(le=10_000)] | Auto | None = None
    batch_size: Annotated[int, Field(le=1_000_000)] | Auto | None = None
    learning_rate_multiplier: float | Auto | None = None

    learning_rate: float | Auto | None = None
    lr_scheduler: str | None = None
    warmup_ratio: float | None = None
    weight_decay: float | None = None
    adam_beta1: float | None = None
    adam_beta2: float | None = None
    adam_epsilon: float | None = None
    max_grad_norm: float | None = Field(None, description="0 turns clipping off.")
    max_seq_length: Annotated[int, Field(le=_MANY)] | Auto | None = None
    overlong: str | None = Field(None, description="truncate (default) or refuse.")
    early_stopping_patience: Annotated[int, Field(le=_MANY)] | None = None
    max_steps: Annotated[int, Field(le=_MANY)] | Auto | None = None

    adapter: dict[str, Any] | None = Field(
        None,
        description="The method and its knobs; LoRA of rank 16 if left out.",
        examples=[{"type": "paca", "rank": 16}, {"type": "meft", "num_keys": 1024, "top_k": 64}],
    )
    priority: Literal["low", "normal", "high"] | None = None
    group: str | None = Field(None, max_length=64)


class SupervisedMethod(StrictModel):
    hyperparameters: Knobs | None = None


class Method(StrictModel):
    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedMethod | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class JobCreate(Knobs):
    """Our knobs are read here (the client's `extra_body`), in `method.supervised.hyperparameters`
    and in the deprecated `hyperparameters`; of a knob given twice, the first place counts."""

    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    suffix: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9._-]*$")
    seed: int | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    integrations: list[IntegrationObject] | None = None
    method: Method | None = None
    hyperparameters: Knobs | None = None
