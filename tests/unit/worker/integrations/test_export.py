"""An export that fails warns once, spares the other tools, and is tried again at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from curve_jobs import JobWith
from opentelemetry.trace import StatusCode
from recorded_spans import CLIENTS_TRACE, CLIENTS_TRACEPARENT, recording, trace_of

from pando_shared.errors import Unavailable
from pando_shared.integrations import Mlflow, TensorBoard
from pando_shared.jobs import Job, JobState
from pando_worker.integrations.context import ExportContext
from pando_worker.integrations.event_file import event_file_id
from pando_worker.integrations.export import export_job

pytest.importorskip("tensorboardX", reason="the extra pando-worker[tensorboard]")


def test_a_tool_that_fails_leaves_one_warning(
    context: ExportContext, job_with: JobWith, end: Callable[[Job], Job]
) -> None:
    job = job_with(Mlflow("pirates"))  # and nobody has said where MLflow is
    both = (*job.spec.integrations, TensorBoard())
    context.store.update_job(
        job.id, lambda job: replace(job, spec=replace(job.spec, integrations=both))
    )
    export_job(job.id, context)
    export_job(job.id, context)
    end(job)
    with pytest.raises(Unavailable, match="mlflow"):
        export_job(job.id, context)
    warned = [event for event in context.store.events(job.id) if event.level == "warn"]
    assert [event.data["integration"] for event in warned] == ["mlflow"]
    assert context.store.get_job(job.id).result_files == (event_file_id(job.id),)
    assert context.store.get_job(job.id).state is JobState.SUCCEEDED


def test_a_job_that_is_gone_is_left_alone(context: ExportContext) -> None:
    export_job("ftjob-unknown", context)


def test_a_job_that_ends_meanwhile_is_written_as_it_ended(
    context: ExportContext,
    job_with: JobWith,
    end: Callable[[Job], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_with(TensorBoard())
    written: list[JobState] = []

    def publish(job: Job, *_: object) -> None:
        written.append(job.state)
        if not job.state.terminal:
            end(job)

    monkeypatch.setattr("pando_worker.integrations.export.publish_event_file", publish)
    export_job(job.id, context)
    assert written == [JobState.RUNNING, JobState.SUCCEEDED]


def test_an_export_is_in_its_jobs_trace(context: ExportContext, job_with: JobWith) -> None:
    failing, well = job_with(Mlflow("pirates")), job_with(TensorBoard())
    with recording() as spans:
        for job in (failing, well):
            context.store.update_job(
                job.id, lambda job: replace(job, traceparent=CLIENTS_TRACEPARENT)
            )
            export_job(job.id, context)
    failed, exported = spans.named("export curves")
    assert trace_of(failed) == trace_of(exported) == CLIENTS_TRACE
    assert failed.status.status_code is StatusCode.ERROR
    assert exported.status.status_code is StatusCode.UNSET
    assert exported.attributes == {"job_id": well.id, "tenant": "acme"}
