"""What predictors have learnt from rounds."""

from __future__ import annotations

from typing import Protocol


class LearntStore(Protocol):
    """The part of `Store` that knows what predictors have learnt."""

    def put_learnt(self, key: str, text: str) -> None:
        """Keep what a predictor has learnt, as JSON that only it understands."""
        ...

    def learnt(self) -> dict[str, str]: ...
