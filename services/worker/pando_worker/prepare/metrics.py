"""What the process that prepares data tells Prometheus, by way of its parent (`relay`)."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Outcome(StrEnum):
    """What came of preparing a job."""

    PREPARED = "prepared"
    #: The job has failed: its data, or what it asks for, is wrong.
    FAILED = "failed"
    #: It was cancelled, or another process has prepared it.
    GONE = "gone"
    #: Storage or Redis did not answer, or a fault of ours: it will be tried again.
    POSTPONED = "postponed"


class PrepareMetrics:
    """Histograms of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY):
        self._seconds = Histogram(
            "pando_prepare_duration_seconds",
            "Time to check and tokenise a job's files, by what came of it",
            ["outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait = Histogram(
            "pando_prepare_wait_seconds",
            "Time from a job's submission until the preparation began that ended its wait",
            buckets=_SECONDS,
            registry=registry,
        )
        for outcome in Outcome:
            self._seconds.labels(outcome.value)  # at 0, so that the first is an increase

    def prepared(self, submitted_at: float, began: float, ended: float, outcome: Outcome) -> None:
        """A job was, or could not be; times are of one clock, in seconds."""
        self._seconds.labels(outcome.value).observe(max(0.0, ended - began))
        if outcome is not Outcome.POSTPONED:
            self._wait.observe(max(0.0, began - submitted_at))
