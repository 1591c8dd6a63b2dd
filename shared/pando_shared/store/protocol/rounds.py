"""Rounds that are planned for workers or run on them."""

from __future__ import annotations

from typing import Protocol

from pando_shared.workers import Round


class RoundStore(Protocol):
    """The part of `Store` that knows rounds."""

    def plan_round(self, planned: Round) -> None:
        """Keep a planned round; its message goes out after this."""
        ...

    def begin_round(
        self, round_id: str, worker_id: str, incarnation: str, now: float
    ) -> Round | None:
        """Claim a planned round for the worker it is for. None: unknown, begun or not yours.

        Wakes the scheduler, so that the next round is planned while this one runs.
        """
        ...

    def withdraw_round(self, round_id: str) -> bool:
        """Forget a round that has not begun. False: it has, or it is unknown."""
        ...

    def end_round(self, round_id: str) -> None:
        """Forget a round (finished, or given up by the scheduler) and wake the scheduler."""
        ...

    def rounds_of(self, worker_id: str) -> list[Round]:
        """One worker's rounds, by `planned_at`."""
        ...

    def rounds(self) -> list[Round]:
        """All rounds planned or running, by `planned_at`."""
        ...
