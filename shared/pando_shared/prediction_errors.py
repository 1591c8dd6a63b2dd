"""How far predictions were off, lately and in all."""

from __future__ import annotations

import math
from dataclasses import dataclass

_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class PredictionErrors:
    """The last 256 of measured / predicted - 1, oldest first, and how many there were ever.

    Percentiles are by nearest rank; None: nothing was predicted yet.
    """

    recent: tuple[float, ...] = ()
    rounds: int = 0

    def add(self, error: float) -> PredictionErrors:
        kept = self.recent[-(_REMEMBERED - 1) :]
        return PredictionErrors((*kept, round(error, 6)), self.rounds + 1)

    @property
    def p50(self) -> float | None:
        """Of the errors' size, whichever way they went."""
        return _percentile([abs(error) for error in self.recent], 0.5)

    @property
    def p99(self) -> float | None:
        """Of the errors' size, whichever way they went."""
        return _percentile([abs(error) for error in self.recent], 0.99)

    @property
    def p99_beyond(self) -> float | None:
        """Of the errors themselves: 1 % of what was measured was further above the prediction."""
        return _percentile(list(self.recent), 0.99)


def _percentile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
