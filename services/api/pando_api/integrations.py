"""Integrations between the wire and a job's spec, and whether this site has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pando_api.schemas.integrations import (
    IntegrationObject,
    MlflowIntegration,
    MlflowRun,
    TensorBoardIntegration,
    WandbIntegration,
    WandbRun,
)
from pando_shared.errors import InvalidRequest
from pando_shared.integrations import Integration, IntegrationType, Mlflow, TensorBoard, Wandb


def wanted_integrations(
    asked: Iterable[IntegrationObject], enabled: Sequence[IntegrationType]
) -> tuple[Integration, ...]:
    """What a job asks for.

    Raises:
        InvalidRequest: the site has not enabled one, or one is asked for twice.
    """
    wanted: dict[str, Integration] = {}
    for number, integration in enumerate(asked):
        kind = integration.type
        if kind not in enabled:
            raise InvalidRequest(
                f"integration {kind!r} is not enabled here; enabled: {', '.join(enabled) or 'none'}"
                f". The operator enables it with PANDO_INTEGRATIONS={','.join((*enabled, kind))}",
                param=f"integrations.{number}.type",
                code="integration_not_enabled",
            )
        if kind in wanted:
            raise InvalidRequest(
                f"integration {kind!r} is asked for twice; a job has one run of each",
                param=f"integrations.{number}.type",
            )
        wanted[kind] = _wanted(integration)
    return tuple(wanted.values())


def _wanted(asked: IntegrationObject) -> Integration:
    match asked:
        case TensorBoardIntegration():
            return TensorBoard()
        case MlflowIntegration(mlflow=run):
            return Mlflow(run.experiment, run.run_name, run.tags or {})
        case WandbIntegration(wandb=run):
            return Wandb(run.project, run.name, run.entity, tuple(run.tags or ()))


def shown_integrations(integrations: Iterable[Integration]) -> list[IntegrationObject]:
    """As they were asked for."""
    return [_shown(integration) for integration in integrations]


def _shown(kept: Integration) -> IntegrationObject:
    match kept:
        case TensorBoard():
            return TensorBoardIntegration(type="tensorboard")
        case Mlflow():
            run = MlflowRun(
                experiment=kept.experiment, run_name=kept.run_name, tags=dict(kept.tags) or None
            )
            return MlflowIntegration(type="mlflow", mlflow=run)
        case Wandb():
            wandb = WandbRun(
                project=kept.project,
                name=kept.name,
                entity=kept.entity,
                tags=list(kept.tags) or None,
            )
            return WandbIntegration(type="wandb", wandb=wandb)
