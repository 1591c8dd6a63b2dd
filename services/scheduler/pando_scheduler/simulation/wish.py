"""What is wished of a cluster, as people say it: "p95 wait < 10 min"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from pando_scheduler.simulation.measures import quantile
from pando_scheduler.simulation.run import Run
from pando_shared.errors import InvalidRequest

Measure = Literal["wait", "turnaround"]
_MEASURES: dict[str, Measure] = {"wait": "wait", "turnaround": "turnaround"}

_WISH = re.compile(
    r"\s*(?P<statistic>\S+)\s+(?P<measure>\S+?)\s*(?P<sign><=|<)\s*(?P<number>\S*?)\s*"
    r"(?P<unit>[A-Za-z]*)\s*"
)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)", re.ASCII)
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_GRAMMAR = "a wish is like 'p95 wait < 10 min' or 'mean turnaround <= 2 h'"


@dataclass(frozen=True, slots=True)
class Wish:
    """`share` is the statistic: 0.95 for p95, 1 for the maximum, None for the mean.

    `strict`: less than `seconds`, not as much. `unit` is the one it was written in.
    """

    text: str
    share: float | None
    measure: Measure
    strict: bool
    seconds: float
    unit: str

    def figure(self, run: Run) -> float:
        """The wish's figure in seconds. The turnaround of a job that did not finish is infinite,
        and so is the wait of one that never started."""
        if self.measure == "wait":
            values = sorted(math.inf if o.started is None else o.waited for o in run.outcomes)
        else:
            ends = ((o.finished, o.arrived) for o in run.outcomes)
            values = sorted(math.inf if end is None else end - begun for end, begun in ends)
        if not values:
            return 0.0
        if self.share is None:
            return fmean(values)
        return quantile(values, self.share) or 0.0

    def met_by(self, figure: float) -> bool:
        return figure < self.seconds if self.strict else figure <= self.seconds

    def in_its_unit(self, figure: float) -> str:
        """600 -> "10 min", if the wish was in minutes."""
        if math.isinf(figure):
            return "without end"
        return f"{figure / _UNITS[self.unit]:.3g} {self.unit}"


def parse_wish(text: str) -> Wish:
    """Read a wish: mean, median, max or a percentile (p95) of wait or turnaround, `<` or `<=`, a
    number and its unit (s, min, h, d).

    Raises:
        InvalidRequest: says which word is wrong, and what it may be.
    """

    def refuse(problem: str) -> InvalidRequest:
        return InvalidRequest(f"cannot read the wish {text!r}: {problem}; {_GRAMMAR}", param="wish")

    match = _WISH.fullmatch(text)
    if match is None:
        raise refuse("it has not this form")
    statistic, measure = match["statistic"].lower(), _MEASURES.get(match["measure"].lower())
    percentile = _PERCENTILE.fullmatch(statistic)
    named: dict[str, float | None] = {"mean": None, "median": 0.5, "max": 1.0}
    if percentile is not None and float(percentile[1]) > 0:
        share: float | None = float(percentile[1]) / 100
    elif statistic in named:
        share = named[statistic]
    else:
        raise refuse(
            f"{match['statistic']!r} is no statistic; use mean, median, max, or p1 to p99.9"
        )
    if measure is None:
        raise refuse(f"{match['measure']!r} is no measure; use wait or turnaround")
    try:
        number = float(match["number"])
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise refuse(f"{match['number']!r} is no number of 0 or more")
    unit = match["unit"].lower()
    seconds = _UNITS.get(unit)
    if seconds is None:
        raise refuse(f"{match['unit']!r} is no unit; use {', '.join(_UNITS)}")
    return Wish(text.strip(), share, measure, match["sign"] == "<", number * seconds, unit)
