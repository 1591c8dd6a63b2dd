"""Which integrations a job may ask for, and how they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from api_calls import create_job, error_of, upload
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient

from pando_shared.integrations import Mlflow, TensorBoard, Wandb
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore

WANDB = {"type": "wandb", "wandb": {"project": "pirates", "name": "one", "tags": ["a", "b"]}}
MLFLOW = {"type": "mlflow", "mlflow": {"experiment": "pirates", "tags": {"team": "a"}}}
TENSORBOARD = {"type": "tensorboard"}


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    enabled = getattr(request, "param", ("tensorboard", "mlflow", "wandb"))
    return Settings(dtype="float32", integrations=enabled)


def test_they_are_kept_and_shown_as_the_protocol_says(client: TestClient, store: StubStore) -> None:
    job = create_job(client, integrations=[WANDB, MLFLOW, TENSORBOARD])
    assert store.get_job(job["id"]).spec.integrations == (
        Wandb("pirates", "one", tags=("a", "b")),
        Mlflow("pirates", tags={"team": "a"}),
        TensorBoard(),
    )
    assert job["integrations"] == [
        {"type": "wandb", "wandb": {**WANDB["wandb"], "entity": None}},  # type: ignore[dict-item]
        {"type": "mlflow", "mlflow": {**MLFLOW["mlflow"], "run_name": None}},  # type: ignore[dict-item]
        TENSORBOARD,
    ]
    only_wandb = create_job(client, integrations=[WANDB])
    (shown,) = FineTuningJob.model_validate(only_wandb).integrations or []
    assert (shown.wandb.project, shown.wandb.tags) == ("pirates", ["a", "b"])
    assert create_job(client, integrations=[])["integrations"] is None


@pytest.mark.parametrize(
    ("integrations", "says"),
    [
        ([WANDB, WANDB], "twice"),
        ([{"type": "comet"}], "'wandb', 'mlflow', 'tensorboard'"),
        ([{"type": "wandb"}], "wandb"),
        ([{"type": "wandb", "wandb": {"project": ""}}], "at least 1"),
        ([{"type": "mlflow", "mlflow": {"experiment": "x", "tracking_uri": "http://h"}}], "tags"),
        ([{"type": "mlflow", "mlflow": {"experiment": "x", "tags": {"a": 1}}}], "string"),
        ([{}], "type"),
        ("wandb", "list"),
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, integrations: Any, says: str) -> None:
    body = {"model": "tiny", "training_file": upload(client)["id"], "integrations": integrations}
    error = error_of(client.post("/v1/fine_tuning/jobs", json=body), 400)
    assert says in error["message"]


@pytest.mark.parametrize("settings", [(), ("tensorboard",)], indirect=True)
def test_what_is_not_enabled_is_refused_with_how_to_enable_it(
    client: TestClient, settings: Settings
) -> None:
    body = {"model": "tiny", "training_file": upload(client)["id"], "integrations": [MLFLOW]}
    error = error_of(client.post("/v1/fine_tuning/jobs", json=body), 400)
    assert (error["param"], error["code"]) == ("integrations.0.type", "integration_not_enabled")
    wanted = ",".join((*settings.integrations, "mlflow"))
    assert error["message"].endswith(f"PANDO_INTEGRATIONS={wanted}")
