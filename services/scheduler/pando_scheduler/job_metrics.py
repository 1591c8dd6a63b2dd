"""What becomes of jobs, counted as the scheduler sees them change, whoever changed them."""

from __future__ import annotations

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Histogram

from pando_shared.failure_codes import FAILURE_CODES
from pando_shared.jobs import Job, JobState, Priority

#: So many jobs that ended last are remembered: some change once more after their end.
_REMEMBERED = 10_000
_SECONDS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400)


class JobMetrics:
    """Counters and histograms of all jobs together; no series for a single one."""

    def __init__(self, registry: CollectorRegistry):
        self._finished = Counter(
            "pando_jobs_finished",
            "Jobs that ended; the reason is a failure's error code",
            ["status", "reason"],
            registry=registry,
        )
        self._duration = Histogram(
            "pando_job_duration_seconds",
            "Time from a job's submission to its end",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait = Histogram(
            "pando_job_queue_wait_seconds",
            "Time from when a job came into the queue until it got a place on a worker",
            ["priority"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._retries = Counter(
            "pando_job_retries",
            "Jobs that were queued again after a loss: of their worker, or of memory",
            ["reason"],
            registry=registry,
        )
        self._begin_at_0()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def _begin_at_0(self) -> None:
        """A series that came with its first event would hide it: an increase needs two values."""
        for priority in Priority:
            self._wait.labels(priority.value)
        for state in JobState:
            if state.terminal:
                self._duration.labels(state.value)
        for reason in ("worker_lost", "out_of_memory"):
            self._retries.labels(reason)
        for code in FAILURE_CODES:
            self._finished.labels(JobState.FAILED.value, code)
        self._finished.labels(JobState.SUCCEEDED.value, "")
        self._finished.labels(JobState.CANCELLED.value, "")

    def changed(self, before: Job | None, after: Job) -> None:
        """Take in that a job is no longer as it was when it was last seen; None: it is new."""
        if after.state.terminal and after.id not in self._ended:
            self._count_end(after)
        newly_placed = before is None or before.placed_at != after.placed_at
        if after.lease is not None and after.placed_at is not None and newly_placed:
            waited = after.placed_at - after.waits_since
            self._wait.labels(after.spec.priority.value).observe(max(0.0, waited))
        if before is None:
            return
        # They fall back to 0 with progress, which is no retry.
        if after.attempts > before.attempts:
            self._retries.labels("worker_lost").inc(after.attempts - before.attempts)
        if after.out_of_memory > before.out_of_memory:
            self._retries.labels("out_of_memory").inc(after.out_of_memory - before.out_of_memory)

    def _count_end(self, job: Job) -> None:
        self._ended[job.id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        code = "" if job.error is None else job.error.code
        self._finished.labels(job.state.value, code).inc()
        ended = job.created_at if job.finished_at is None else job.finished_at
        self._duration.labels(job.state.value).observe(max(0.0, ended - job.created_at))
