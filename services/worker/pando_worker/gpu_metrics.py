"""What NVML tells of the GPU that this worker trains on. Without one there are no series."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)


def watch_gpu(uuid: str, registry: CollectorRegistry) -> None:
    """Have a GPU's state read whenever Prometheus asks. If NVML cannot be used here, say so once
    and do without: training needs none of it.

    `uuid` as `nvidia-smi -L` prints it, "GPU-…".
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        registry.register(GpuMetrics(pynvml, uuid))
    except Exception as error:  # of the driver's state, which is not ours to judge
        log.warning("no metrics of the GPU: %s", error)


class GpuMetrics(Collector):
    """Reads one GPU through `nvml`, the module pynvml. A reading that fails is left out."""

    def __init__(self, nvml: Any, uuid: str):
        self._nvml, self._uuid = nvml, uuid
        self._gpu = nvml.nvmlDeviceGetHandleByUUID(uuid)
        self._xids: Counter[int] = Counter()
        self._events: Any = None
        try:
            events = nvml.nvmlEventSetCreate()
            kind = nvml.nvmlEventTypeXidCriticalError
            nvml.nvmlDeviceRegisterEvents(self._gpu, kind, events)
            self._events = events
        except nvml.NVMLError as error:  # in some virtual machines
            log.info("the GPU does not report XIDs: %s", error)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        nvml, gpu = self._nvml, self._gpu
        yield from self._gauge(
            "utilization_ratio",
            "Share of the last moments in which a kernel ran",
            lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
        )
        yield from self._gauge(
            "power_watts", "Power drawn", lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
        )
        yield from self._gauge(
            "temperature_celsius",
            "Temperature of the chip",
            lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
        )
        yield from self._gauge(
            "memory_used_bytes",
            "Memory in use, by whichever process",
            lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
        )
        yield from self._gauge(
            "memory_total_bytes", "Memory in all", lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).total
        )
        yield self._xid_errors()

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> Iterator[Metric]:
        try:
            value = float(read())
        except self._nvml.NVMLError:
            return
        gauge = GaugeMetricFamily(f"pando_gpu_{name}", text, labels=["gpu"])
        gauge.add_metric([self._uuid], value)
        yield gauge

    def _xid_errors(self) -> Metric:
        """NVML queues them; each is counted when it is taken from there. "any" is the sum
        of all, so that there is a series to compare with before the first."""
        nvml = self._nvml
        while self._events is not None:
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
            except nvml.NVMLError:  # none is left
                break
            self._xids[int(event.eventData)] += 1
        errors = CounterMetricFamily(
            "pando_gpu_xid_errors", "Critical errors of the driver", labels=["gpu", "xid"]
        )
        errors.add_metric([self._uuid, "any"], sum(self._xids.values()))
        for xid, count in sorted(self._xids.items()):
            errors.add_metric([self._uuid, str(xid)], count)
        return errors
