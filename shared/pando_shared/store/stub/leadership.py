"""Which of several schedulers leads, in memory."""

from __future__ import annotations

import threading

from pando_shared.clock import Clock


class StubLeadership:
    """The part of `StubStore` that knows the leader."""

    def __init__(self, lock: threading.RLock, clock: Clock):
        self._lock = lock
        self._clock = clock
        self._leads: tuple[str, float] | None = None

    def lead(self, candidate: str, seconds: float) -> bool:
        with self._lock:
            if self.leader() not in (None, candidate):
                return False
            self._leads = candidate, self._clock.now() + seconds
            return True

    def step_down(self, candidate: str) -> None:
        with self._lock:
            if self.leader() == candidate:
                self._leads = None

    def leader(self) -> str | None:
        with self._lock:
            if self._leads is None:
                return None
            candidate, until = self._leads
            return candidate if self._clock.now() < until else None
