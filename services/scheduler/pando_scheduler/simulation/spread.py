"""A figure over several seeds: its mean and how far it spreads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pando_scheduler.simulation.run import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """`deviation` is the sample's standard deviation; 0 of a single value."""

    mean: float
    deviation: float
    low: float
    high: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of the values that are known; None: there are none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = stdev(known) if len(known) > 1 else 0.0
    return Spread(fmean(known), deviation, min(known), max(known))


def ratio(values: Sequence[float | None], to: Sequence[float | None]) -> Spread | None:
    """Of values to others, seed by seed: the same jobs under two policies. Where one of a pair is
    not known or the other is 0, the pair does not count."""
    pairs = zip(values, to, strict=False)
    return spread(v / t if v is not None and t else None for v, t in pairs)


def by_policy(runs: Iterable[Run]) -> Mapping[str, list[Run]]:
    """The runs of each policy, in the order in which they come."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.policy, []).append(run)
    return found
