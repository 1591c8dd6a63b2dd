"""What Prometheus reads of the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pando_shared.jobs import Job, JobState, Priority


class SchedulerMetrics:
    """The scheduler's series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Gauge("pando_jobs", "Jobs by state", ["state"], registry=self.registry)
        self._oldest = Gauge(
            "pando_oldest_queued_seconds",
            "How long the job queued for longest has waited",
            ["priority"],
            registry=self.registry,
        )
        self.plan_seconds = Histogram(
            "pando_round_plan_seconds",
            "Time to look at the cluster and decide",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=self.registry,
        )
        self.placements = Counter(
            "pando_placements", "Jobs placed on a worker", registry=self.registry
        )

    def observe_jobs(self, counts: Mapping[JobState, int]) -> None:
        for state, count in counts.items():
            self._jobs.labels(state.value).set(count)

    def observe_queue(self, jobs: Iterable[Job], now: float) -> None:
        waits = dict.fromkeys(Priority, 0.0)
        for job in jobs:
            if job.state is JobState.QUEUED:
                since = job.created_at if job.queued_at is None else job.queued_at
                priority = job.spec.priority
                waits[priority] = max(waits[priority], now - since)
        for priority, wait in waits.items():
            self._oldest.labels(priority.value).set(wait)
