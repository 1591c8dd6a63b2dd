"""A create body's knobs, which may stand in three places, as the domain's configurations."""

from __future__ import annotations

import reprlib
from dataclasses import fields
from typing import Any

from pando_api.schemas.job_create import JobCreate, Knobs
from pando_shared.adapters import AdapterConfig, LoraConfig, parse_adapter
from pando_shared.errors import InvalidRequest
from pando_shared.training import TrainingConfig

_LARGEST_SINGLE = (2 - 2**-23) * 2.0**127
_TRAINING = frozenset(field.name for field in fields(TrainingConfig))


def merged_knobs(body: JobCreate) -> dict[str, Any]:
    """Every knob that was set, "auto" left out.

    The top level counts before `method.supervised.hyperparameters`, and that before the deprecated
    `hyperparameters`.
    """
    method = body.method.supervised if body.method else None
    places = (body.hyperparameters, method.hyperparameters if method else None, body)
    merged: dict[str, Any] = {}
    for place in places:
        if place is not None:
            merged |= place.given()
    return {
        name: value
        for name, value in merged.items()
        if name in Knobs.model_fields and value != "auto"
    }


def training_config(knobs: dict[str, Any], seed: int | None) -> TrainingConfig:
    """Raises InvalidRequest, with the parameter's name, for a value out of range."""
    values = {name: value for name, value in knobs.items() if name in _TRAINING}
    if seed is not None:
        values["seed"] = seed
    config = TrainingConfig(**values)
    for field in fields(config):
        _require_computable(getattr(config, field.name), field.name)
    if config.learning_rate is not None:
        product = config.learning_rate * config.learning_rate_multiplier
        _require_computable(product, "learning_rate_multiplier", "learning_rate times it")
    return config


def adapter_config(knobs: dict[str, Any]) -> AdapterConfig:
    """Raises InvalidRequest for an unknown method, a misspelt knob or a value out of range."""
    if "adapter" not in knobs:
        return LoraConfig()
    try:
        config = parse_adapter(knobs["adapter"])
    except OverflowError as error:
        raise InvalidRequest(
            "a number in adapter is too large for floating point", param="adapter"
        ) from error
    for field in fields(config):
        _require_computable(getattr(config, field.name), f"adapter.{field.name}", field.name)
    return config


def _require_computable(value: object, param: str, name: str | None = None) -> None:
    """Training is done in single precision: torch refuses a larger number in the midst of a step,
    which is that of the job's neighbours too."""
    if isinstance(value, int | float) and value > _LARGEST_SINGLE:
        raise InvalidRequest(
            f"{name or param} must be at most 3.4e38, the largest number of single precision; "
            f"got {reprlib.repr(value)}",
            param=param,
        )
