"""What Prometheus reads of the scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pando_scheduler.job_metrics import JobMetrics
from pando_shared.build_info import show_build
from pando_shared.calibration import Calibration
from pando_shared.jobs import JobState, Priority, YieldCause
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.speed import SpeedModel

if TYPE_CHECKING:
    from pando_scheduler.mirror import Mirror
    from pando_shared.policy_file import PolicyFile

_MINUTES = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400)


class SchedulerMetrics:
    """The scheduler's series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        show_build("scheduler", registry)
        self.jobs = JobMetrics(registry)
        self._oldest = Gauge(
            "pando_oldest_queued_seconds",
            "How long the job queued for longest has waited",
            ["priority"],
            registry=registry,
        )
        self.plan_seconds = Histogram(
            "pando_round_plan_seconds",
            "Time to look at the cluster and to decide",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.placements = Counter(
            "pando_placements", "Jobs placed on a worker", ["outcome"], registry=registry
        )
        self.preemptions = Counter(
            "pando_preemptions", "Jobs told to leave their worker", ["reason"], registry=registry
        )
        # A series that came with its first event would hide it: an increase needs two values.
        for outcome in ("placed", "overtaken"):
            self.placements.labels(outcome)
        for cause in YieldCause:
            self.preemptions.labels(cause.value)
        self.leads = Gauge("pando_scheduler_leads", "Whether this one decides", registry=registry)
        self._policy = Gauge(
            "pando_policy_file_valid",
            "Whether the policy file is as it should be; else the last good one counts",
            registry=registry,
        )
        self._reserved = Gauge(
            "pando_reserved_workers", "Workers kept for jobs that have starved", registry=registry
        )
        self._in_use = Gauge(
            "pando_tenant_workers", "Workers' worth in use", ["tenant"], registry=registry
        )
        self.start_error = Histogram(
            "pando_start_forecast_error_seconds",
            "How far off the start that a job was first told was",
            buckets=_MINUTES,
            registry=registry,
        )
        self.finish_error = Histogram(
            "pando_finish_forecast_error_seconds",
            "How far off the end that a job was first told was",
            buckets=_MINUTES,
            registry=registry,
        )
        learnt = ["base_model", "device", "percentile"]
        self._memory_error = Gauge(
            "pando_predicted_memory_error_ratio",
            "Measured over predicted peak of recent rounds, less one, without its sign",
            learnt,
            registry=registry,
        )
        self._speed_error = Gauge(
            "pando_predicted_speed_error_ratio",
            "Measured over predicted tokens a second of recent rounds, less one, without its sign",
            learnt,
            registry=registry,
        )
        self._headroom = Gauge(
            "pando_memory_headroom_ratio",
            "Share of a prediction that admission keeps free",
            ["base_model", "device"],
            registry=registry,
        )

    def observe(
        self,
        mirror: Mirror,
        policy_file: PolicyFile,
        now: float,
    ) -> None:
        """Show the cluster as it is now."""
        waits = dict.fromkeys(Priority, 0.0)
        for job in mirror.jobs.values():
            if job.state is JobState.QUEUED:
                priority = job.spec.priority
                waits[priority] = max(waits[priority], now - job.waits_since)
        for priority, wait in waits.items():
            self._oldest.labels(priority.value).set(wait)
        self._policy.set(policy_file.problem is None)
        self._reserved.set(len(mirror.cluster.reservations))
        self._in_use.clear()
        for tenant, workers in mirror.cluster.accounts.in_use.items():
            self._in_use.labels(tenant).set(workers)

    def observe_learnt(
        self,
        calibrations: Mapping[tuple[str, str], Calibration],
        speeds: Mapping[tuple[str, str], SpeedModel],
        start_headroom: float,
    ) -> None:
        """Show what the predictors have learnt, and how far off they were."""
        for (base_model, device), calibration in calibrations.items():
            self._headroom.labels(base_model, device).set(calibration.headroom(start_headroom))
            _percentiles(self._memory_error, base_model, device, calibration.errors)
        for (base_model, device), speed in speeds.items():
            _percentiles(self._speed_error, base_model, device, speed.errors)


def _percentiles(gauge: Gauge, base_model: str, device: str, errors: PredictionErrors) -> None:
    for name, value in (("50", errors.p50), ("99", errors.p99)):
        if value is not None:
            gauge.labels(base_model, device, name).set(value)
