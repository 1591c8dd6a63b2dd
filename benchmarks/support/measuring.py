"""Times of single operations on a device, and the device's peaks to hold them against."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Operation = Callable[[], object]

#: What `torch.cuda._sleep` counts, per second: about the clock of the GPUs of interest.
_CYCLES_A_SECOND = 2e9
#: Longest sleep: more work than can be started in this time is not hidden behind it.
_LONGEST_SLEEP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds that one call keeps the device busy, and that it takes to start it."""

    seconds: float
    host_seconds: float


@dataclass
class Deadline:
    """When measuring must have ended, `seconds` from now."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    @property
    def passed(self) -> bool:
        return self.left <= 0


class Stopwatch:
    """Times operations with cold caches; on a GPU, with events.

    Before each repeat the GPU sleeps for as long as starting the operation takes, so that what is
    timed is the GPU alone and not Python; then a buffer larger than its L2 cache is overwritten.
    """

    def __init__(self, device: torch.device, repeats: int = 10):
        self._repeats = repeats
        self._flush: Tensor | None = None
        if device.type == "cuda":
            cached = torch.cuda.get_device_properties(device).L2_cache_size
            self._flush = torch.empty(max(4 * cached, 1 << 28), dtype=torch.int8, device=device)

    def time(self, operation: Operation) -> Timing:
        """The first call, which may compile, is not counted."""
        operation()
        if self._flush is None:
            spent = [_host_seconds(operation) for _ in range(self._repeats)]
            return Timing(statistics.median(spent), statistics.median(spent))
        torch.cuda.synchronize()
        host = _host_seconds(operation)
        torch.cuda.synchronize()
        sleep = int(min(2 * host, _LONGEST_SLEEP_SECONDS) * _CYCLES_A_SECOND)
        events = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            for _ in range(self._repeats)
        ]
        for start, stop in events:
            torch.cuda._sleep(sleep)
            self._flush.zero_()
            start.record()
            operation()
            stop.record()
        torch.cuda.synchronize()
        return Timing(statistics.median(a.elapsed_time(b) for a, b in events) / 1e3, host)


def _host_seconds(operation: Operation) -> float:
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Peaks:
    """What the device does at best, measured: products of large matrices, and one large copy."""

    flops_per_second: float
    bytes_per_second: float

    @property
    def told(self) -> str:
        return (
            f"{self.flops_per_second / 1e12:,.3g} TFLOP/s, {self.bytes_per_second / 1e12:,.3g} TB/s"
        )

    def seconds(self, flops: float, moved_bytes: float) -> tuple[float, float]:
        """The least time that so much work takes: by its arithmetic, by its memory traffic."""
        return flops / self.flops_per_second, moved_bytes / self.bytes_per_second


def measure_peaks(stopwatch: Stopwatch, device: torch.device, dtype: torch.dtype) -> Peaks:
    on_gpu = device.type == "cuda"
    n, moved = (8192, 1 << 30) if on_gpu else (256, 1 << 20)
    left, right = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.zeros(moved, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    gemm = stopwatch.time(lambda: torch.mm(left, right, out=product))
    copy = stopwatch.time(lambda: target.copy_(source))
    return Peaks(2 * n**3 / gemm.seconds, 2 * moved / copy.seconds)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def release(device: torch.device) -> None:
    """Give what nothing refers to back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most that tensors took since `reset_peak`; not known on a CPU."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
