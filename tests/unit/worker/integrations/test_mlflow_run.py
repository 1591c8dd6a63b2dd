"""MLflow's own client finds one run a job, with each step once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from curve_jobs import JobWith, told
from redis_process import free_port

from pando_shared.integrations import Mlflow
from pando_shared.jobs import Job
from pando_worker.integrations.context import ExportContext
from pando_worker.integrations.export import export_job

mlflow = pytest.importorskip("mlflow", reason="the extra pando-worker[mlflow]")


@pytest.fixture
def served(
    context: ExportContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ExportContext:
    """MLflow without a server, in files."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    settings = context.settings.model_copy(
        update={"mlflow_tracking_uri": (tmp_path / "mlruns").as_uri()}
    )
    return replace(context, settings=settings)


def test_one_run_has_each_step_once(
    served: ExportContext, job_with: JobWith, end: Callable[[Job], Job]
) -> None:
    job = job_with(Mlflow("pirates", "first", {"team": "a", "pando.job_id": "another's"}))
    client = mlflow.MlflowClient(tracking_uri=served.settings.mlflow_tracking_uri)
    export_job(job.id, served)
    (run,) = client.search_runs([client.get_experiment_by_name("pirates").experiment_id])
    assert (run.info.status, run.info.run_name) == ("RUNNING", "first")
    assert (run.data.tags["team"], run.data.tags["pando.job_id"]) == ("a", job.id)
    assert run.data.params["base_model"] == job.spec.model
    assert run.data.params["adapter.type"] == "lora"

    served.store.append_events(job.id, [told(2, train_loss=9.0), told(3, train_loss=0.125)])
    export_job(job.id, served)
    end(job)
    export_job(job.id, served)
    (again,) = client.search_runs([run.info.experiment_id])
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert again.info.end_time == 200_000
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (1, 0.5, 101_000),
        (2, 0.25, 102_000),
        (3, 0.125, 103_000),
    ]
    valid = client.get_metric_history(run.info.run_id, "valid_loss")
    assert [(point.step, point.value) for point in valid] == [(2, 0.75)]


def test_a_server_that_is_away_is_not_waited_for_nor_named(
    context: ExportContext, job_with: JobWith
) -> None:
    address = f"127.0.0.1:{free_port()}"
    away = context.settings.model_copy(update={"mlflow_tracking_uri": f"http://{address}"})
    job = job_with(Mlflow("pirates"))
    started = time.monotonic()
    export_job(job.id, replace(context, settings=away))
    assert time.monotonic() - started < 60  # by itself MLflow tries for minutes
    (warning,) = (event for event in context.store.events(job.id) if event.level == "warn")
    assert "MlflowException" in warning.message
    assert address not in warning.message
