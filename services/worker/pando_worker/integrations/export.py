"""The export task: a job's curves go to every tool that it asks for, as far as they have come."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pando_shared.errors import NotFound, Unavailable
from pando_shared.history import History
from pando_shared.integrations import Integration, Mlflow, TensorBoard, Wandb
from pando_shared.jobs import Job, JobState
from pando_shared.records import Event
from pando_shared.tracing import span
from pando_worker.integrations.context import ExportContext
from pando_worker.integrations.event_file import publish_event_file
from pando_worker.integrations.mlflow_run import write_mlflow_run
from pando_worker.integrations.wandb_run import write_wandb_run
from pando_worker.metric_rows import MetricRow, all_events, metric_rows

log = logging.getLogger(__name__)


def export_job(job_id: str, context: ExportContext) -> None:
    """Bring the tools up to date. Done again, or after it was killed, it writes what they lack.

    A tool that fails leaves one warning on the job, and the others as they are. A job that ends
    meanwhile is written once more: another export of its end may have been overtaken by this one.

    Raises:
        Unavailable: the job has ended, and a tool lacks what it told; try again later.
    """
    try:
        ended = False
        while not ended:
            job = context.store.get_job(job_id)
            ended = job.state.terminal
            failed = _export_traced(job, context)
            ended = ended or not context.store.get_job(job_id).state.terminal
    except NotFound:
        log.info("job %s is gone", job_id)
        return
    if failed and job.state.terminal:
        raise Unavailable(f"what job {job_id} told was not written to {', '.join(failed)}")


def _export_traced(job: Job, context: ExportContext) -> list[str]:
    """The same, as a span of the job's."""
    with span(
        "export curves",
        kind="consumer",
        parent=job.traceparent,
        job_id=job.id,
        tenant=job.spec.tenant,
    ) as exporting:
        failed = _export(job, context)
        if failed:
            exporting.fail("integration_failed")
    return failed


def _export(job: Job, context: ExportContext) -> list[str]:
    """Returns the types of the tools that failed."""
    # Of a job that has ended they may be in storage by now.
    history = History(context.store, context.storage)
    events = list(all_events(history, job.id))
    done = job.state is JobState.SUCCEEDED
    rows = metric_rows(events, job.progress.step if done else None)
    failed: list[str] = []
    for integration in job.spec.integrations:
        try:
            _write(integration, job, rows, context)
        except Exception as error:  # whatever a tool's client raises must not reach the job
            log.exception("job %s was not written to %s", job.id, integration.type)
            failed.append(integration.type)
            if not any(event.data.get("integration") == integration.type for event in events):
                context.store.append_events(job.id, [_warning(integration, error, context)])
    return failed


def _write(
    integration: Integration, job: Job, rows: Sequence[MetricRow], context: ExportContext
) -> None:
    match integration:
        case TensorBoard():
            publish_event_file(job, rows, context)
        case Mlflow():
            write_mlflow_run(integration, job, rows, context.settings.mlflow_tracking_uri)
        case Wandb():
            write_wandb_run(integration, job, rows)


def _warning(integration: Integration, error: Exception, context: ExportContext) -> Event:
    """What went wrong is in the service's log: it may name addresses that are not the user's."""
    return Event(
        context.clock.now(),
        f"The job's curves could not be written to {integration.type} ({type(error).__name__}); "
        "training goes on, and it is tried again. The operator finds why in the workers' log",
        level="warn",
        data={"integration": integration.type},
    )
