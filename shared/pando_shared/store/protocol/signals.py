"""How the scheduler is told to look."""

from __future__ import annotations

from typing import Protocol


class SignalStore(Protocol):
    """The part of `Store` that knows how the scheduler is woken."""

    def wake(self) -> None:
        """Make the scheduler look now."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep until woken, at most this long."""
        ...
