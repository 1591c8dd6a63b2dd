# ruff: noqa: N802, N815  (names of pynvml's)
"""What is made of NVML's answers, and of their absence. The library is real where it is loaded; a
driver is not there, so that `Driver` answers in its place."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pando_worker.gpu_metrics import SILENT_SECONDS, GpuMetrics
from pando_worker.gpu_reader import GpuReader


class Driver:
    """Answers as pynvml does on a machine with a GPU, whose power cannot be read."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    nvmlEventTypeXidCriticalError = pynvml.nvmlEventTypeXidCriticalError

    def __init__(self, *xids: int, events: bool = True) -> None:
        self.xids, self.events = list(xids), events
        self.fails_with: int | None = None
        self.connected = 0

    def _answer(self) -> None:
        if self.fails_with is not None:
            raise pynvml.NVMLError(self.fails_with)

    def nvmlInit(self) -> None:
        self._answer()
        self.connected += 1

    def nvmlShutdown(self) -> None:
        self.connected -= 1
        self._answer()

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlEventSetCreate(self) -> object:
        return object()

    def nvmlDeviceRegisterEvents(self, gpu: str, kind: int, events: object) -> None:
        if not self.events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlEventSetWait_v2(self, events: object, milliseconds: int) -> object:
        if not self.xids:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        return SimpleNamespace(eventData=self.xids.pop())

    def nvmlDeviceGetUtilizationRates(self, gpu: str) -> object:
        self._answer()
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetPowerUsage(self, gpu: str) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTemperature(self, gpu: str, sensor: int) -> int:
        self._answer()
        return 64

    def nvmlDeviceGetMemoryInfo(self, gpu: str) -> object:
        self._answer()
        return SimpleNamespace(used=3 << 30, total=80 << 30)


class Watched:
    """A GPU's metrics, and what Prometheus would read of them."""

    def __init__(self, driver: Driver) -> None:
        self.now = 0.0
        reader = GpuReader("GPU-1", lambda: driver)
        self.metrics = GpuMetrics("GPU-1", reader, lambda: self.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)

    def scrape(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pando_gpu_{name}", {"gpu": "GPU-1", **labels})


def watched(driver: Driver) -> Watched:
    """Read once."""
    made = Watched(driver)
    made.metrics.take()
    return made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("up", 1.0),
        ("utilization_ratio", 0.87),
        ("temperature_celsius", 64.0),
        ("memory_used_bytes", 3 << 30),
        ("memory_total_bytes", 80 << 30),
    ],
)
def test_a_gpus_state_is_told_in_base_units(name: str, value: float) -> None:
    assert watched(Driver()).value(name) == value


def test_what_cannot_be_read_is_left_out() -> None:
    assert "power" not in watched(Driver()).scrape()


def test_each_xid_is_counted_once() -> None:
    gpu = watched(Driver(79, 13, 79))
    gpu.metrics.take()
    assert gpu.value("xid_errors_total", xid="any") == 3
    assert gpu.value("xid_errors_total", xid="79") == 2


def test_a_gpu_that_reports_no_xids_has_had_none() -> None:
    assert watched(Driver(events=False)).value("xid_errors_total", xid="any") == 0


def test_before_it_was_asked_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    gpu = Watched(Driver())
    assert gpu.scrape() == ""
    assert not caplog.records


def test_the_error_that_takes_the_gpu_away_is_still_counted() -> None:
    driver = Driver(79)
    driver.fails_with = pynvml.NVML_ERROR_GPU_IS_LOST
    gpu = Watched(driver)
    gpu.metrics.take()
    driver.fails_with = None
    gpu.metrics.take()
    driver.xids.append(79)
    driver.fails_with = pynvml.NVML_ERROR_GPU_IS_LOST
    gpu.metrics.take()
    assert (gpu.value("up"), gpu.value("xid_errors_total", xid="79")) == (0, 2)


def test_a_driver_that_fails_is_said_once_and_used_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "pando_worker")
    driver = Driver()
    gpu = watched(driver)
    for _ in range(2):
        caplog.clear()
        driver.fails_with = pynvml.NVML_ERROR_UNKNOWN
        for _ in range(3):
            gpu.metrics.take()
            assert gpu.value("up") == 0
            assert gpu.value("memory_used_bytes") is None
            assert gpu.value("xid_errors_total", xid="any") == 0
        driver.fails_with = None
        for _ in range(3):
            gpu.metrics.take()
            assert gpu.value("up") == 1
            assert gpu.value("memory_used_bytes") == 3 << 30
        first, second = (record.getMessage() for record in caplog.records)
        assert first.startswith("NVML tells nothing of the GPU: Unknown Error.")
        assert "training goes on" in first
        assert second == "NVML tells of the GPU again"
    assert driver.connected == 1  # each time anew, and let go before


def test_a_driver_that_hangs_is_told_of_by_whoever_asks_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu = watched(Driver())
    gpu.now = SILENT_SECONDS
    assert gpu.value("up") == 1
    for _ in range(3):
        gpu.now += 5.0
        assert gpu.value("up") == 0
        assert gpu.value("utilization_ratio") is None
    (record,) = caplog.records
    assert "it has not answered for 25 s" in record.getMessage()
    gpu.metrics.take()  # which is when its answer came
    assert gpu.value("up") == 1


def test_without_a_driver_it_is_down_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pytest.skip("this machine has an NVIDIA driver")
    metrics = GpuMetrics("GPU-1", GpuReader("GPU-1", lambda: pynvml))
    registry = CollectorRegistry()
    registry.register(metrics)
    metrics.take()
    assert registry.get_sample_value("pando_gpu_up", {"gpu": "GPU-1"}) == 0
    assert "NVML Shared Library Not Found" in caplog.text
