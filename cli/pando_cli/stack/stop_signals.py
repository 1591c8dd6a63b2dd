"""Ctrl-C, SIGTERM and a closed terminal as a flag that loops look at."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class StopSignals:
    """Install once in the main thread. The second signal calls `hurry`."""

    def __init__(self) -> None:
        self._count = 0
        self._hurry: Callable[[], None] | None = None

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def on_second(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry

    def request(self) -> None:
        """Stop without a signal: the work is done."""
        self._count = max(1, self._count)

    def requested(self) -> bool:
        return self._count > 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 and self._hurry is not None:
            self._hurry()
