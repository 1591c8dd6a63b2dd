"""Which scheduler leads."""

from __future__ import annotations

from typing import Protocol


class LeadershipStore(Protocol):
    """The part of `Store` that knows the leader."""

    def lead(self, candidate: str, seconds: float) -> bool:
        """Become or stay the leader for so long from now. False: another leads."""
        ...

    def step_down(self, candidate: str) -> None:
        """Stop leading, so that another may at once. Nothing happens if another leads."""
        ...

    def leader(self) -> str | None: ...
