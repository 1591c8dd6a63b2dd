"""What a job was asked to do, as the flat list of names and values that tools show beside a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from pando_shared.jobs import Job

Value = str | int | float | bool


def job_config(job: Job) -> dict[str, Value]:
    """Resolved values once the data is known; what was left open is not named."""
    spec = job.spec
    config: dict[str, Value] = {
        "base_model": spec.model,
        "training_file": spec.training_file,
        **_flat("adapter", asdict(spec.adapter)),
        **_flat("training", asdict(job.training or spec.training)),
    }
    if spec.validation_file is not None:
        config["validation_file"] = spec.validation_file
    return config


def _flat(prefix: str, values: Mapping[str, object]) -> dict[str, Value]:
    return {
        f"{prefix}.{name}": value if isinstance(value, Value) else str(value)
        for name, value in values.items()
        if value is not None
    }
