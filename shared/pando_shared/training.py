"""Hyperparameters of one job's training, as asked for and as resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from pando_shared.adapters import AdapterConfig
from pando_shared.errors import InvalidRequest

#: Published starting points at which each method trains well on most data.
DEFAULT_LEARNING_RATE = {"lora": 2e-4, "paca": 4e-4, "meft": 5e-4}

LrSchedule = Literal["constant", "linear", "cosine"]


def _require(condition: bool, param: str, message: str) -> None:
    if not condition:
        raise InvalidRequest(message, param=param)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What a job asks for; `None` is "auto", which `resolve` replaces once the data is known.

    `batch_size` is sequences per optimizer step. `max_grad_norm` 0 turns clipping off.
    `early_stopping_patience` counts validations without improvement; 0 turns it off.
    """

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float = 1.0
    lr_scheduler: LrSchedule = "linear"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    max_seq_length: int | None = None
    overlong: Literal["truncate", "refuse"] = "truncate"
    early_stopping_patience: int = 0
    max_steps: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("n_epochs", "batch_size", "max_seq_length", "max_steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, f"{name} must be at least 1, got {value}")
        for name in ("learning_rate", "learning_rate_multiplier", "adam_epsilon"):
            value = getattr(self, name)
            _require(
                value is None or (math.isfinite(value) and value > 0),
                name,
                f"{name} must be a positive number, got {value}",
            )
        for name in ("weight_decay", "max_grad_norm", "early_stopping_patience"):
            value = getattr(self, name)
            _require(
                math.isfinite(value) and value >= 0, name, f"{name} must be 0 or more, got {value}"
            )
        for name in ("adam_beta1", "adam_beta2", "warmup_ratio"):
            value = getattr(self, name)
            _require(0 <= value < 1, name, f"{name} must be in [0, 1), got {value}")
        _require(
            self.lr_scheduler in ("constant", "linear", "cosine"),
            "lr_scheduler",
            f"lr_scheduler must be constant, linear or cosine, got {self.lr_scheduler!r}",
        )
        _require(
            self.overlong in ("truncate", "refuse"),
            "overlong",
            f"overlong must be truncate or refuse, got {self.overlong!r}",
        )
        _require(0 <= self.seed < 1 << 63, "seed", f"seed must be in 0..2^63-1, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A `TrainingConfig` with nothing left open, and the number of steps that follows from it."""

    n_epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    steps_per_epoch: int
    total_steps: int
    config: TrainingConfig

    def learning_rate_at(self, step: int) -> float:
        """The rate of optimizer step `step` (0 is the first): warm-up, then the schedule."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        span = max(1, self.total_steps - self.warmup_steps)
        done = (step - self.warmup_steps) / span
        match self.config.lr_scheduler:
            case "constant":
                return self.learning_rate
            case "linear":
                return self.learning_rate * max(0.0, 1.0 - done)
            case "cosine":
                return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def resolve(config: TrainingConfig, adapter: AdapterConfig, examples: int) -> Plan:
    """Replace every "auto" by what suits `examples` training sequences.

    Batch: about 1/16 of the data, 1 to 8. Epochs: 3 for 64 examples or more, else enough for about
    60 steps, at most 10. Learning rate: `DEFAULT_LEARNING_RATE` of the method times the multiplier.
    """
    _require(examples >= 1, "training_file", "the training file holds no usable example")
    batch = min(config.batch_size or min(8, max(1, examples // 16)), examples)
    steps_per_epoch = math.ceil(examples / batch)
    epochs = config.n_epochs or (3 if examples >= 64 else min(10, max(3, 60 // steps_per_epoch)))
    total = epochs * steps_per_epoch
    if config.max_steps is not None:
        total = min(total, config.max_steps)
        epochs = math.ceil(total / steps_per_epoch)
    base_rate = config.learning_rate or DEFAULT_LEARNING_RATE[adapter.type]
    rate = base_rate * config.learning_rate_multiplier
    return Plan(
        n_epochs=epochs,
        batch_size=batch,
        learning_rate=rate,
        warmup_steps=math.ceil(config.warmup_ratio * total),
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        config=replace(
            config,
            n_epochs=epochs,
            batch_size=batch,
            learning_rate=rate,
            learning_rate_multiplier=1.0,
        ),
    )
