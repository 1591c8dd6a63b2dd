"""Memory on a device through which rows pass, and the streams that fill and empty it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


class SideStream:
    """Work on a GPU beside the stream that computes; on a CPU, everything is done at once."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._timed: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def behind_compute(self) -> Iterator[None]:
        """What is asked for inside begins when all that was asked of the computing stream is
        done, and runs beside what is asked of it later."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(self._stream):
            began.record(self._stream)
            yield
            ended.record(self._stream)
        self._timed.append((began, ended))

    def keep(self, *tensors: Tensor) -> None:
        """The computing stream's tensors are read here: their memory is not to be used anew
        before."""
        for tensor in tensors:
            if self._stream is not None:
                tensor.record_stream(self._stream)

    def mark(self) -> torch.cuda.Event | None:
        """For the computing stream to wait for all asked of this one so far."""
        if self._stream is None:
            return None
        event = torch.cuda.Event()
        event.record(self._stream)
        return event

    def synchronize(self) -> float:
        """Wait for all of it; returns the seconds that its work took since the last time."""
        if self._stream is None:
            return 0.0
        self._stream.synchronize()
        seconds = sum(began.elapsed_time(ended) for began, ended in self._timed) / 1e3
        self._timed.clear()
        return float(seconds)


def await_event(event: torch.cuda.Event | None) -> None:
    """Have the computing stream of the event's device wait."""
    if event is not None:
        torch.cuda.current_stream(event.device).wait_event(event)


@dataclass(slots=True)
class Buffer:
    """A vector [n] that blocks of any shape are cut from; `ready` when a side stream is done
    with it."""

    numbers: Tensor
    ready: torch.cuda.Event | None = None
    reserved: bool = False

    def blocks(self, count: int, width: int, d: int) -> Tensor:
        """[count, width, d]"""
        return self.numbers[: count * width * d].view(count, width, d)


@dataclass(slots=True)
class Buffers:
    """Equally large buffers that are taken in turn; those that hold what somebody sent ahead are
    passed over."""

    all: list[Buffer]
    _turn: int = field(default=0)

    @property
    def numbers(self) -> int:
        """Of each."""
        return self.all[0].numbers.numel()

    def take(self) -> Buffer:
        """One to use now, for the computing stream."""
        for _ in self.all:
            buffer = self.all[self._turn]
            self._turn = (self._turn + 1) % len(self.all)
            if not buffer.reserved:
                await_event(buffer.ready)
                buffer.ready = None
                return buffer
        raise RuntimeError("every buffer is reserved: none was left for what is needed now")

    def spare(self) -> Buffer | None:
        """One to fill ahead, reserved; None while only two are left for what is needed now."""
        free = [buffer for buffer in self.all if not buffer.reserved]
        if len(free) <= 2:
            return None
        # The one whose turn is last: the others may be in use.
        order = [self.all[(self._turn + i) % len(self.all)] for i in range(len(self.all))]
        buffer = next(b for b in reversed(order) if not b.reserved)
        buffer.reserved = True
        return buffer


def make_buffers(count: int, numbers: int, dtype: torch.dtype, device: torch.device) -> Buffers:
    """Buffers of as many numbers each."""
    return Buffers([Buffer(torch.zeros(numbers, dtype=dtype, device=device)) for _ in range(count)])
