"""Tools that a job's curves are written to besides: OpenAI's `wandb`, then ours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pando_api.schemas.strict import StrictModel

Name = Annotated[str, Field(min_length=1, max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]


class WandbRun(StrictModel):
    project: Name
    name: Name | None = None
    entity: Name | None = None
    tags: list[Tag] | None = Field(None, max_length=16)


class WandbIntegration(StrictModel):
    type: Literal["wandb"]
    wandb: WandbRun


class MlflowRun(StrictModel):
    experiment: Name
    run_name: Name | None = None
    tags: dict[Tag, Annotated[str, Field(max_length=512)]] | None = Field(None, max_length=16)


class MlflowIntegration(StrictModel):
    type: Literal["mlflow"]
    mlflow: MlflowRun


class TensorBoardIntegration(StrictModel):
    type: Literal["tensorboard"]


IntegrationObject = Annotated[
    WandbIntegration | MlflowIntegration | TensorBoardIntegration, Field(discriminator="type")
]
