"""Waking and waiting in memory."""

from __future__ import annotations

import threading


class StubSignals:
    """The part of `StubStore` that wakes and waits."""

    def __init__(self, lock: threading.RLock):
        self._woken = threading.Condition(lock)
        self._awake = False

    def wake(self) -> None:
        with self._woken:
            self._awake = True
            self._woken.notify()

    def wait(self, seconds: float) -> None:
        with self._woken:
            if not self._awake:
                self._woken.wait(seconds)
            self._awake = False

    def ping(self) -> bool:
        return True
