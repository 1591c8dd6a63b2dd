"""The one way by which kernels are started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pando_kernels.triton.configs import Config

#: Takes a kernel, its arguments and its options instead of a device.
Recorder = Callable[[Any, dict[str, Any], Config], None]

_recorder: ContextVar[Recorder | None] = ContextVar("pando_recorder", default=None)


def launch(kernel: Any, grid: tuple[int, ...], config: Config, **arguments: Any) -> None:
    """Run a kernel on each point of the grid; on an empty grid, nothing."""
    if 0 in grid:
        return
    recorder = _recorder.get()
    if recorder is not None:
        recorder(kernel, arguments, config)
        return
    kernel[grid](**arguments, num_warps=config.warps, num_stages=config.stages)


@contextmanager
def recorded(recorder: Recorder) -> Iterator[None]:
    """Hand over what would be launched: how kernels are compiled where there is no GPU."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)
