"""What the store tells Prometheus. Read when it asks, so that several API processes agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pando_shared.clock import Clock
from pando_shared.errors import Unavailable
from pando_shared.fleet import is_alive
from pando_shared.jobs import JobState
from pando_shared.settings import Settings
from pando_shared.store import Store
from pando_shared.workers import Worker


class StoreMetrics(Collector):
    """Jobs by state, and who is there to train."""

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
        alive = sum(is_alive(worker, self._settings, now) for worker in workers)
        return [
            _jobs_by_state(self._store.count_jobs()),
            _heartbeats(workers),
            GaugeMetricFamily("pando_workers_alive", "Workers that report.", value=alive),
            GaugeMetricFamily(
                "pando_webhook_pending",
                "Events that have not reached their webhook yet.",
                value=self._store.count_deliveries(),
            ),
        ]


def _jobs_by_state(counts: Mapping[JobState, int]) -> Metric:
    jobs = GaugeMetricFamily("pando_jobs", "Jobs by state.", labels=["state"])
    for state in JobState:
        jobs.add_metric([state.value], counts.get(state, 0))
    return jobs


def _heartbeats(workers: Sequence[Worker]) -> Metric:
    heartbeats = GaugeMetricFamily(
        "pando_worker_last_heartbeat_timestamp_seconds",
        "When a worker last reported.",
        labels=["worker"],
    )
    for worker in workers:
        heartbeats.add_metric([worker.id], worker.heartbeat_at)
    return heartbeats
