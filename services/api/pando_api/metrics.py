"""What the API reports to Prometheus: its requests, and the store's view of jobs and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from pando_shared.clock import Clock
from pando_shared.errors import Unavailable
from pando_shared.fleet import is_alive
from pando_shared.jobs import Job, JobState, Priority
from pando_shared.settings import Settings
from pando_shared.store import Store
from pando_shared.workers import Worker

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """One application's registry; nothing global, so that tests may make many applications."""

    def __init__(self, store: Store, settings: Settings, clock: Clock):
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "pando_api_request_duration_seconds",
            "Time from a request's arrival to its answer's last byte.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_StoreCollector(store, settings, clock))

    def observe_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a finished request under its route's template, so that ids make no new series."""
        route = getattr(scope.get("route"), "path", "unmatched")
        self._requests.labels(scope["method"], route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)


class _StoreCollector(Collector):
    """Reads the store when Prometheus asks, so that several API processes agree."""

    def __init__(self, store: Store, settings: Settings, clock: Clock):
        self._store = store
        self._settings = settings
        self._clock = clock

    def describe(self) -> list[Metric]:
        """Nothing: saves the registry from collecting, and the store from a query, at start-up."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Without a store the API still reports its own requests, and that the store is away."""
        try:
            found = self._of_store()
        except Unavailable:
            found = []
        yield from found
        yield GaugeMetricFamily("pando_store_up", "1 while the store answers.", value=bool(found))

    def _of_store(self) -> list[Metric]:
        now = self._clock.now()
        workers = self._store.list_workers()
        return [
            _jobs_by_state(self._store.count_jobs()),
            _oldest_queued(self._store.jobs_in(JobState.QUEUED), now),
            _heartbeats(workers),
            GaugeMetricFamily(
                "pando_workers_alive",
                "Workers that report.",
                value=sum(is_alive(worker, self._settings, now) for worker in workers),
            ),
        ]


def _jobs_by_state(counts: Mapping[JobState, int]) -> Metric:
    jobs = GaugeMetricFamily("pando_jobs", "Jobs by state.", labels=["state"])
    for state in JobState:
        jobs.add_metric([state.value], counts.get(state, 0))
    return jobs


def _oldest_queued(queued: Sequence[Job], now: float) -> Metric:
    oldest = GaugeMetricFamily(
        "pando_oldest_queued_seconds", "Age of the oldest queued job.", labels=["priority"]
    )
    for priority in Priority:
        ages = [now - job.created_at for job in queued if job.spec.priority is priority]
        oldest.add_metric([priority.value], max(ages, default=0.0))
    return oldest


def _heartbeats(workers: Sequence[Worker]) -> Metric:
    heartbeats = GaugeMetricFamily(
        "pando_worker_last_heartbeat_timestamp_seconds",
        "When a worker last reported.",
        labels=["worker"],
    )
    for worker in workers:
        heartbeats.add_metric([worker.id], worker.heartbeat_at)
    return heartbeats
