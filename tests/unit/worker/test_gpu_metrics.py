# ruff: noqa: N802, N815  (names of pynvml's)
"""What is made of NVML's answers, and of their absence. The library is real where it is loaded; a
driver is not there, so that `Driver` answers in its place."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pando_worker.gpu_metrics import GpuMetrics, watch_gpu


class Driver:
    """Answers as pynvml does on a machine with a GPU, whose power cannot be read."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    nvmlEventTypeXidCriticalError = pynvml.nvmlEventTypeXidCriticalError

    def __init__(self, xids: list[int], events: bool = True) -> None:
        self.xids, self.events = xids, events

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
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetPowerUsage(self, gpu: str) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTemperature(self, gpu: str, sensor: int) -> int:
        return 64

    def nvmlDeviceGetMemoryInfo(self, gpu: str) -> object:
        return SimpleNamespace(used=3 << 30, total=80 << 30)


def registry_of(driver: Driver) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(driver, "GPU-1"))
    return registry


def scrape(driver: Driver, times: int = 1) -> str:
    registry = registry_of(driver)
    return [generate_latest(registry).decode() for _ in range(times)][-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("utilization_ratio", 0.87),
        ("temperature_celsius", 64.0),
        ("memory_used_bytes", 3 << 30),
        ("memory_total_bytes", 80 << 30),
    ],
)
def test_a_gpus_state_is_told_in_base_units(name: str, value: float) -> None:
    registry = registry_of(Driver([]))
    assert registry.get_sample_value(f"pando_gpu_{name}", {"gpu": "GPU-1"}) == value


def test_what_cannot_be_read_is_left_out() -> None:
    assert "power" not in scrape(Driver([]))


def test_each_xid_is_counted_once() -> None:
    text = scrape(Driver([79, 13, 79]), times=2)
    assert 'pando_gpu_xid_errors_total{gpu="GPU-1",xid="any"} 3.0' in text
    assert 'pando_gpu_xid_errors_total{gpu="GPU-1",xid="79"} 2.0' in text


def test_a_gpu_that_reports_no_xids_has_had_none() -> None:
    text = scrape(Driver([], events=False))
    assert 'pando_gpu_xid_errors_total{gpu="GPU-1",xid="any"} 0.0' in text


def test_without_a_driver_there_are_no_series_and_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pytest.skip("this machine has an NVIDIA driver")
    registry = CollectorRegistry()
    watch_gpu("GPU-1", registry)
    assert generate_latest(registry) == b""
    assert "no metrics of the GPU" in caplog.text
