"""The GPU that this worker trains on, for Prometheus."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pando_worker.gpu_reader import GpuReader

log = logging.getLogger(__name__)

_READ_SECONDS = 5.0
#: A driver that takes longer to answer hangs.
SILENT_SECONDS = 20.0

_TEXTS = {
    "utilization_ratio": "Share of the last moments in which a kernel ran",
    "power_watts": "Power drawn",
    "temperature_celsius": "Temperature of the chip",
    "memory_used_bytes": "Memory in use, by whichever process",
    "memory_total_bytes": "Memory in all",
}


def watch_gpu(uuid: str, registry: CollectorRegistry) -> None:
    """Have a GPU's state read every few seconds, as long as this process lives.

    By a thread of its own: training needs none of it, and must not wait for a driver that hangs.
    """
    metrics = GpuMetrics(uuid, GpuReader(uuid, _pynvml))
    registry.register(metrics)
    threading.Thread(target=metrics.run, name="gpu", daemon=True).start()


def _pynvml() -> Any:
    import pynvml

    return pynvml


class GpuMetrics(Collector):
    """Told by the thread that reads; asked by any other. Says once that NVML tells nothing, and
    once that it does so again."""

    def __init__(self, uuid: str, reader: GpuReader, clock: Callable[[], float] = time.monotonic):
        self._uuid, self._reader, self._clock = uuid, reader, clock
        self._heard_at = clock()
        #: What NVML told last, or why it told nothing; None: it has not been asked yet.
        self._heard: Mapping[str, float] | str | None = None
        self._failing = False

    def run(self) -> None:
        """Read, for ever."""
        while True:
            self.take()
            time.sleep(_READ_SECONDS)

    def take(self) -> None:
        """Read once; returns when NVML answers."""
        heard: Mapping[str, float] | str
        try:
            heard = self._reader.read()
        except Exception as error:  # of the driver's state, which is not ours to judge
            heard = str(error) or type(error).__name__
        self._heard, self._heard_at = heard, self._clock()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        heard = self._heard
        silent = self._clock() - self._heard_at
        if silent > SILENT_SECONDS:
            heard = f"it has not answered for {silent:.0f} s"
        if heard is None:
            return
        told = {} if isinstance(heard, str) else heard
        self._say(heard)
        yield self._gauge("up", "Whether NVML tells of the GPU", bool(told))
        for name, value in told.items():
            yield self._gauge(name, _TEXTS[name], value)
        yield self._xid_errors()

    def _say(self, heard: Mapping[str, float] | str) -> None:
        if self._failing == isinstance(heard, str):
            return
        self._failing = isinstance(heard, str)
        if self._failing:
            log.warning(
                "NVML tells nothing of the GPU: %s. Its metrics are missing until it does; "
                "training goes on. `nvidia-smi` tells more",
                heard,
            )
        else:
            log.info("NVML tells of the GPU again")

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"pando_gpu_{name}", text, labels=["gpu"])
        gauge.add_metric([self._uuid], value)
        return gauge

    def _xid_errors(self) -> Metric:
        """The label "any" has the sum, so that there is a series to compare with at first."""
        xids = self._reader.xids.copy()
        errors = CounterMetricFamily(
            "pando_gpu_xid_errors", "Critical errors of the driver", labels=["gpu", "xid"]
        )
        errors.add_metric([self._uuid, "any"], xids.total())
        for xid, count in sorted(xids.items()):
            errors.add_metric([self._uuid, str(xid)], count)
        return errors
