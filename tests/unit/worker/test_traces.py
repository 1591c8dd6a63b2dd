"""What a worker does for a job is in the job's trace, and its rounds are linked to their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from recorded_spans import (
    CLIENTS_TRACE,
    CLIENTS_TRACEPARENT,
    RecordedSpans,
    links_of,
    recording,
    trace_of,
    traceparent_of,
)
from worker_world import CHECKPOINT_SECONDS, TENANT, WORKER, World

from pando_shared.jobs import JobState
from pando_shared.tracing import continuing


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recording() as recorded:
        yield recorded


def trace_id(number: int) -> str:
    return f"{number:032x}"


def submit(world: World, number: int, **training: object) -> str:
    """A job that was asked for in the trace of this number."""
    job_id = world.submit(**training)
    at = traceparent_of(number)
    world.store.update_job(job_id, lambda job: replace(job, traceparent=at))
    return job_id


def in_trace(spans: RecordedSpans, number: int) -> list[str]:
    return [span.name for span in spans.all() if trace_of(span) == trace_id(number)]


def test_a_round_of_two_is_linked_to_both_and_both_to_it(
    world: World, spans: RecordedSpans
) -> None:
    jobs = {submit(world, 1): 1, submit(world, 2, n_epochs=50): 2}
    with continuing(CLIENTS_TRACEPARENT):  # as its message came
        world.round(*jobs, seconds=12)
    (around,) = spans.named("run round")
    assert (around.kind, trace_of(around)) == (SpanKind.CONSUMER, CLIENTS_TRACE)
    assert links_of(around) == {trace_id(1), trace_id(2)}
    assert around.attributes is not None
    assert around.attributes["worker_id"] == WORKER
    assert str(around.attributes["round_id"]).startswith("round-")
    trained = spans.named("train job")
    assert [links_of(span) for span in trained] == [{CLIENTS_TRACE}] * 2
    for span in trained:
        assert span.attributes is not None
        assert span.attributes["tenant"] == TENANT
        assert span.attributes["worker_id"] == WORKER
        assert trace_of(span) == trace_id(jobs[str(span.attributes["job_id"])])
    done, going_on = trained
    assert done.attributes is not None
    assert done.attributes["step"] == 10
    assert done.end_time < going_on.end_time
    assert in_trace(spans, 1)[0] == "seat job"
    assert in_trace(spans, 1)[-2:] == ["train job", "export adapter"]


def test_checkpoints_are_in_the_jobs_trace_also_from_another_thread(
    world: World, spans: RecordedSpans
) -> None:
    job_id = submit(world, 1, n_epochs=50)
    world.round(job_id, seconds=CHECKPOINT_SECONDS + 5)
    written = spans.named("write checkpoint")
    assert [trace_of(span) for span in written] == [trace_id(1)]
    world.round()  # without it: it leaves by a checkpoint
    assert len(spans.named("write checkpoint")) == 2
    assert {trace_of(span) for span in spans.named("write checkpoint")} == {trace_id(1)}
    for span in spans.named("write checkpoint"):
        assert span.attributes is not None
        assert span.attributes["worker_id"] == WORKER
    published = spans.named("publish checkpoint")
    assert published
    assert {trace_of(span) for span in published} == {trace_id(1)}


def test_storage_that_fails_is_on_the_span(
    world: World, spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(world, 1)

    def full(*_: object) -> None:
        raise OSError("no space for /secret/path")

    monkeypatch.setattr("pando_worker.publishing.export_adapter", full)
    world.round(job_id)
    failed = spans.named("export adapter")
    assert failed
    for span in failed:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "OSError"


def test_a_job_that_cannot_train_fails_in_its_trace(
    world: World, spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pando_worker.seating.restore_latest", too_large)
    job_id = submit(world, 1)
    world.round(job_id)
    assert world.job(job_id).state is JobState.FAILED
    failed = spans.one("fail job")
    assert trace_of(failed) == trace_id(1)
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "out_of_memory"


def test_jobs_of_before_there_were_traces_train(world: World, spans: RecordedSpans) -> None:
    job_id = world.submit()
    world.round(job_id)
    assert world.job(job_id).state is JobState.SUCCEEDED
    assert {trace_of(span) for span in spans.all()} == {trace_of(spans.one("run round"))}
