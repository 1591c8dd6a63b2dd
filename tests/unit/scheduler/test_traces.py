"""What the scheduler does to a job is in the job's trace; a round is linked to its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from recorded_spans import RecordedSpans, links_of, recording, trace_of, traceparent_of
from scheduling import SchedulerBench

from pando_shared.jobs import JobState


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recording() as recorded:
        yield recorded


def trace_id(number: int) -> str:
    return f"{number:032x}"


def test_a_round_is_linked_to_its_jobs_and_each_is_placed_in_its_own_trace(
    bench: SchedulerBench, spans: RecordedSpans
) -> None:
    bench.worker("w1")
    jobs = [bench.job(traceparent=traceparent_of(number)) for number in (1, 2)]
    bench.tick()
    (planned,) = bench.planned()
    planning = spans.one("plan round")
    assert planning.kind is SpanKind.PRODUCER
    assert links_of(planning) == {trace_id(1), trace_id(2)}
    assert planning.attributes is not None
    assert planning.attributes["round_id"] == planned.id
    assert planning.attributes["worker_id"] == "w1"
    placing = {trace_of(span): span for span in spans.named("place job")}
    assert placing.keys() == {trace_id(1), trace_id(2)}
    for number, job in enumerate(jobs, 1):
        span = placing[trace_id(number)]
        assert links_of(span) == {trace_of(planning)}
        assert span.attributes == {"job_id": job.id, "tenant": "acme", "worker_id": "w1"}


def test_a_job_without_a_trace_is_placed_in_the_rounds(
    bench: SchedulerBench, spans: RecordedSpans
) -> None:
    bench.worker("w1")
    bench.job()
    bench.tick()
    assert trace_of(spans.one("place job")) == trace_of(spans.one("plan round"))


def test_a_lost_job_is_requeued_in_its_trace_and_fails_there(
    bench: SchedulerBench, spans: RecordedSpans
) -> None:
    bench.worker("w1")
    job = bench.job(traceparent=traceparent_of(1))
    bench.tick()
    bench.clock.advance(3600)
    bench.tick()
    requeued = spans.one("requeue job")
    assert trace_of(requeued) == trace_id(1)
    assert requeued.status.status_code is StatusCode.UNSET
    bench.store.update_job(job.id, lambda job: replace(job, attempts=99))
    bench.worker("w1")
    bench.tick()
    bench.clock.advance(3600)
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.FAILED
    failed = spans.one("fail job")
    assert (trace_of(failed), failed.status.status_code) == (trace_id(1), StatusCode.ERROR)
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "worker_lost"


def test_renewing_leases_leaves_no_spans(bench: SchedulerBench, spans: RecordedSpans) -> None:
    bench.worker("w1")
    bench.job(traceparent=traceparent_of(1))
    bench.tick()
    before = len(spans.all())
    for _ in range(20):
        bench.clock.advance(1)
        bench.worker("w1")
        bench.tick()
    assert len(spans.all()) == before
