"""How far a long simulation has come, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

#: On a terminal the line is renewed in place; in a log, a line now and then is enough.
_TERMINAL_SECONDS = 0.5
_LOG_SECONDS = 10.0


class Progress:
    """Called by the simulation with simulated seconds, jobs that finished and all jobs.

    Says nothing of runs that are over within its interval.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._interval = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._label = ""
        self._began = self._said = clock()
        self._shown = 0

    def begin(self, label: str) -> None:
        """A run begins; `label` names it."""
        self.end()
        self._label = label
        self._began = self._said = self._clock()

    def __call__(self, at: float, finished: int, jobs: int) -> None:
        now = self._clock()
        if now - self._said < self._interval:
            return
        self._said = now
        line = f"{self._label}: {finished:,} of {jobs:,} jobs, day {at / 86400:.1f}"
        if finished:
            left = (now - self._began) * (jobs - finished) / finished
            line += f", about {left:.0f} s left"
        self._write(line)

    def end(self) -> None:
        """Leave a terminal's line clear for what comes next."""
        if self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._stream.flush()
            self._shown = 0

    def _write(self, line: str) -> None:
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._shown))
            self._shown = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
