"""What NVML tells of one GPU, asked again and again, whatever it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any


class GpuReader:
    """Reads through `load()`, the module pynvml. `uuid` as `nvidia-smi -L` prints it, "GPU-…".

    `xids` counts the driver's critical errors so far, by their number.
    """

    def __init__(self, uuid: str, load: Callable[[], Any]):
        self._uuid, self._load = uuid, load
        self._nvml: Any = None
        self._gpu: Any = None
        self._events: Any = None
        self.xids: Counter[int] = Counter()

    def read(self) -> Mapping[str, float]:
        """The GPU's state now, by the names of metrics; what NVML does not tell is not there. Takes
        as long as the driver does, which may be for ever.

        Raises:
            Exception: NVML cannot be used, or tells nothing; the next time it is set up anew, for
                a driver that was away, or was loaded again, knows nothing of us.
        """
        try:
            if self._nvml is None:
                self._connect()
            self._count_xids()
            return self._values()
        except Exception:
            self._disconnect()
            raise

    def _connect(self) -> None:
        nvml = self._load()
        nvml.nvmlInit()
        self._nvml = nvml
        self._gpu = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
        with suppress(nvml.NVMLError):  # in some virtual machines there are none
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(self._gpu, nvml.nvmlEventTypeXidCriticalError, events)
            self._events = events

    def _disconnect(self) -> None:
        nvml, self._nvml, self._gpu, self._events = self._nvml, None, None, None
        if nvml is not None:
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()

    def _values(self) -> dict[str, float]:
        nvml, gpu = self._nvml, self._gpu
        reads: dict[str, Callable[[], float]] = {
            "utilization_ratio": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(
                gpu, nvml.NVML_TEMPERATURE_GPU
            ),
            "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            "memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
        }
        values, error = {}, None
        for name, read in reads.items():
            try:
                values[name] = float(read())
            except nvml.NVMLError as failed:
                error = failed
        if error is not None and not values:
            raise error
        return values

    def _count_xids(self) -> None:
        """NVML queues them; each is counted when it is taken from there."""
        nvml = self._nvml
        while self._events is not None:
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
            except nvml.NVMLError:  # none is left
                return
            self.xids[int(event.eventData)] += 1
