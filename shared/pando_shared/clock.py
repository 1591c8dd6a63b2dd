"""Time as a value that is passed in, so that tests can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the Unix epoch."""
        ...


class JumpingClock(Clock, Protocol):
    """A clock that others set, and that says so."""

    @property
    def jumped_at(self) -> float | None:
        """The time right after it was last set to another one. None: it never was."""
        ...


class SystemClock:
    jumped_at: float | None = None

    def now(self) -> float:
        return time.time()


class FakeClock:
    """Stands still until told otherwise."""

    def __init__(self, now: float = 1_700_000_000.0):
        self._now = now
        self.jumped_at: float | None = None

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def jump(self, seconds: float) -> None:
        """Be set forward, or back, as a clock that is found to be wrong."""
        self._now += seconds
        self.jumped_at = self._now
