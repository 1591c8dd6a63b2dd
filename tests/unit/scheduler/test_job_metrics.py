"""Jobs' ends, waits and retries are counted once, whoever brought them about."""

from __future__ import annotations

from dataclasses import replace

from factories import make_job
from prometheus_client import CollectorRegistry

from pando_scheduler.job_metrics import JobMetrics
from pando_shared.failure_codes import FAILURE_CODES
from pando_shared.jobs import Job, JobFailure, JobState, Lease, Priority

LEASE = Lease("w1", "inc-1", 100.0)


class Seen:
    """Job metrics, and what Prometheus would read of them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = JobMetrics(self.registry)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def queued(**fields: object) -> Job:
    job = make_job(priority=Priority.HIGH)
    return replace(job, state=JobState.QUEUED, created_at=10.0, queued_at=20.0, **fields)


def test_an_end_is_counted_once_although_the_job_changes_again() -> None:
    seen, job = Seen(), queued()
    ended = replace(job, state=JobState.FAILED, finished_at=70.0, error=JobFailure("bad", "why"))
    seen.metrics.changed(job, ended)
    seen.metrics.changed(None, replace(ended, round_measured_bytes=1))
    assert seen.value("pando_jobs_finished_total", status="failed", reason="bad") == 1
    assert seen.value("pando_job_duration_seconds_sum", status="failed") == 60.0


def test_a_job_that_ended_before_it_was_ever_seen_counts() -> None:
    seen = Seen()
    seen.metrics.changed(None, replace(queued(), state=JobState.CANCELLED, finished_at=11.0))
    assert seen.value("pando_jobs_finished_total", status="cancelled", reason="") == 1


def test_each_wait_in_the_queue_counts_from_when_the_job_came_there() -> None:
    seen, job = Seen(), queued()
    placed = replace(job, lease=LEASE, placed_at=25.0)
    seen.metrics.changed(job, placed)
    seen.metrics.changed(placed, replace(placed, state=JobState.RUNNING))
    assert seen.value("pando_job_queue_wait_seconds_count", priority="high") == 1
    assert seen.value("pando_job_queue_wait_seconds_sum", priority="high") == 5.0
    back = replace(job, queued_at=40.0, placed_at=None)
    seen.metrics.changed(placed, back)
    seen.metrics.changed(back, replace(back, lease=LEASE, placed_at=43.0))
    assert seen.value("pando_job_queue_wait_seconds_sum", priority="high") == 8.0


def test_losses_are_retries_and_progress_is_none() -> None:
    seen, job = Seen(), queued()
    lost = replace(job, attempts=1)
    seen.metrics.changed(job, lost)
    seen.metrics.changed(lost, job)
    seen.metrics.changed(job, replace(job, out_of_memory=1))
    assert seen.value("pando_job_retries_total", reason="worker_lost") == 1
    assert seen.value("pando_job_retries_total", reason="out_of_memory") == 1


def test_series_are_there_before_their_first_event() -> None:
    registry = Seen().registry
    for name, labels in (
        ("pando_job_queue_wait_seconds_count", {"priority": "low"}),
        ("pando_job_duration_seconds_count", {"status": "failed"}),
        ("pando_job_retries_total", {"reason": "worker_lost"}),
        ("pando_jobs_finished_total", {"status": "succeeded", "reason": ""}),
        ("pando_jobs_finished_total", {"status": "cancelled", "reason": ""}),
        *(
            ("pando_jobs_finished_total", {"status": "failed", "reason": code})
            for code in FAILURE_CODES
        ),
    ):
        assert registry.get_sample_value(name, labels) == 0
