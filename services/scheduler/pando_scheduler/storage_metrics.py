"""How full storage's disk is, for Prometheus. An object store has no disk, and no series."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pando_shared.storage import Storage


class StorageMetrics(Collector):
    """Asks the file system whenever Prometheus asks."""

    def __init__(self, storage: Storage):
        self._storage = storage

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        usage = self._storage.disk_usage()
        if usage is None:
            return
        yield GaugeMetricFamily(
            "pando_disk_free_bytes", "What is free on the disk that holds storage", value=usage.free
        )
        yield GaugeMetricFamily(
            "pando_disk_size_bytes", "Size of the disk that holds storage", value=usage.size
        )
