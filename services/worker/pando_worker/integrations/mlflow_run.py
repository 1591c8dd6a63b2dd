"""MLflow: one run a job, found again by a tag; what it has of a curve is not written twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pando_shared.errors import InvalidRequest
from pando_shared.integrations import Mlflow
from pando_shared.jobs import Job, JobState
from pando_worker.integrations.job_config import job_config
from pando_worker.metric_rows import MetricRow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

JOB_TAG = "pando.job_id"
#: MLflow takes no more at once.
_BATCH = 1000
_PARAMS = 100
#: MLflow's own patience is minutes, in which no data would be prepared; exports come again.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_STATUS = {
    JobState.SUCCEEDED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}


def write_mlflow_run(asked: Mlflow, job: Job, rows: Sequence[MetricRow], uri: str | None) -> None:
    """Make the job's run if there is none, and write what it lacks.

    Raises:
        InvalidRequest: the operator has not said where the tracking server is.
        MlflowException: the server refuses, or is away.
    """
    if uri is None:
        raise InvalidRequest("set PANDO_MLFLOW_TRACKING_URI for the workers that prepare data")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run = _run(client, asked, job)
    metrics = list(_lacking(client, run.info.run_id, rows))
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + _BATCH])
    if job.state in _STATUS:
        ended_at = _milliseconds(job.finished_at or job.created_at)
        client.set_terminated(run.info.run_id, _STATUS[job.state], ended_at)


def _run(client: MlflowClient, asked: Mlflow, job: Job) -> Run:
    """The job's run: the oldest of them, should two exports have made one each at once."""
    experiment_id = _experiment(client, asked.experiment)
    found = client.search_runs(
        [experiment_id], f"tags.`{JOB_TAG}` = '{job.id}'", order_by=["attributes.start_time ASC"]
    )
    if found:
        return found[0]
    tags = {**asked.tags, "pando.tenant": job.spec.tenant, JOB_TAG: job.id}
    started_at = _milliseconds(job.started_at or job.created_at)
    run = client.create_run(experiment_id, started_at, tags, asked.run_name or _name(job))
    _write_config(client, run.info.run_id, job)
    return run


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _name(job: Job) -> str:
    return f"{job.spec.suffix}-{job.id}" if job.spec.suffix else job.id


def _write_config(client: MlflowClient, run_id: str, job: Job) -> None:
    from mlflow.entities import Param

    params = [Param(name, str(value)) for name, value in job_config(job).items()]
    for start in range(0, len(params), _PARAMS):
        client.log_batch(run_id, params=params[start : start + _PARAMS])


def _lacking(client: MlflowClient, run_id: str, rows: Sequence[MetricRow]) -> Iterator[Metric]:
    """A step that was done again after a worker was lost stays as it was the first time."""
    from mlflow.entities import Metric

    names = sorted({name for row in rows for name in row.numbers()})
    written = {
        (name, metric.step) for name in names for metric in client.get_metric_history(run_id, name)
    }
    for row in rows:
        for name, value in row.numbers().items():
            if (name, row.step) not in written:
                yield Metric(name, value, _milliseconds(row.told_at), row.step)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
