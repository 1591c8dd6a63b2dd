"""How long the sequences of the jobs' data sets are: a mix read from a trace, or a built-in one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import NormalDist

from pando_scheduler.simulation.csv_trace import read_rows
from pando_shared.errors import InvalidRequest

_COLUMNS = ("ContextTokens", "GeneratedTokens")
#: Of the conversations of Azure's trace: context and generated tokens at the median, the context's
#: 90th percentile over its median, and the 99th percentiles of both.
_MEDIAN = 1020 + 129
_P90_OVER_MEDIAN = 2735 / 1020
_LONGEST = 4142 + 601
_POINTS = 1000


@dataclass(frozen=True, slots=True)
class LengthMix:
    """Lengths in tokens, ascending, each as likely as the others."""

    lengths: tuple[int, ...]

    def draw(self, random: Random) -> float:
        """The mean length of one job's data set. It is one length of the mix: data sets differ
        as much as single requests do, while the sequences of one data set are alike."""
        return float(self.lengths[int(random.random() * len(self.lengths))])


def conversations() -> LengthMix:
    """A log-normal mix with the median and the spread of Azure's conversations (Splitwise, ISCA
    2024), cut at their 99th percentile; for when the trace itself is not at hand."""
    sigma = math.log(_P90_OVER_MEDIAN) / NormalDist().inv_cdf(0.9)
    normal = NormalDist(math.log(_MEDIAN), sigma)
    middles = ((point + 0.5) / _POINTS for point in range(_POINTS))
    drawn = (round(math.exp(normal.inv_cdf(share))) for share in middles)
    return LengthMix(tuple(min(_LONGEST, length) for length in drawn))


def read_lengths(path: Path) -> LengthMix:
    """The mix of a trace with columns `ContextTokens` and `GeneratedTokens`, which are added.

    Raises:
        InvalidRequest: the file cannot be read or a row is not understood; names file and line.
    """
    rows = read_rows(path, _COLUMNS, "a trace of lengths", "lengths")
    lengths = [_length(path, line, row) for line, row in rows]
    if not lengths:
        raise InvalidRequest(f"{path}: has no rows below its header", param="lengths")
    return LengthMix(tuple(sorted(lengths)))


def _length(path: Path, line: int, row: Mapping[str, str]) -> int:
    try:
        parts = [int(row[name]) for name in _COLUMNS]
    except (TypeError, ValueError):
        parts = []
    if not parts or min(parts) < 0 or sum(parts) < 1:
        given = ", ".join(f"{name} {row[name]!r}" for name in _COLUMNS)
        raise InvalidRequest(
            f"{path}: line {line}: token counts must be whole numbers of 0 or more, not both 0; "
            f"got {given}",
            param="lengths",
        )
    return sum(parts)
