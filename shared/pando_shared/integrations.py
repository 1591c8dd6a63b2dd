"""Tools that a job's curves are written to beside its own events, as its user asked for them.

Where a tool is, and by which key it is entered, is the operator's to say: users name neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

IntegrationType = Literal["tensorboard", "mlflow", "wandb"]


@dataclass(frozen=True, slots=True)
class TensorBoard:
    """An event file among the job's result files."""

    type: Literal["tensorboard"] = "tensorboard"


@dataclass(frozen=True, slots=True)
class Mlflow:
    """A run on the site's tracking server."""

    experiment: str
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    type: Literal["mlflow"] = "mlflow"


@dataclass(frozen=True, slots=True)
class Wandb:
    """A run in Weights & Biases, by the site's key; without an entity in the key's own."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()
    type: Literal["wandb"] = "wandb"


Integration = Annotated[TensorBoard | Mlflow | Wandb, Field(discriminator="type")]
