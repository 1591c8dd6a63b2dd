"""Made-up arrivals of any number: Poisson with a daily wave, durations as spread as Philly's."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from statistics import NormalDist

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.traits import SpeedAlone, Traits
from pando_shared.errors import InvalidRequest

DAY_SECONDS = 24 * 3600.0
#: Of Philly's single-GPU jobs: about the median and the 99th percentile of their run times.
_MEDIAN_SECONDS = 20 * 60.0
_P99_SECONDS = 38 * 3600.0
_SIGMA = math.log(_P99_SECONDS / _MEDIAN_SECONDS) / NormalDist().inv_cdf(0.99)
#: How far the rate of arrivals swings around its mean in a day.
_WAVE = 0.5
#: The k-th tenant submits in proportion to 1/k to this power (Zipf).
_ZIPF = 1.0


def mean_seconds(longest_seconds: float) -> float:
    """The mean of the durations below, each cut at `longest_seconds`.

    For ln X ~ N(μ, σ²): E[min(X, c)] = e^(μ + σ²/2) Φ((ln c - μ)/σ - σ) + c (1 - Φ((ln c - μ)/σ)).
    """
    normal = NormalDist()
    cut = math.log(longest_seconds / _MEDIAN_SECONDS) / _SIGMA
    uncut = _MEDIAN_SECONDS * math.exp(_SIGMA**2 / 2)
    return uncut * normal.cdf(cut - _SIGMA) + longest_seconds * (1 - normal.cdf(cut))


def synthetic_arrivals(
    jobs: int,
    *,
    workers: int,
    load: float,
    seed: int,
    bases: Sequence[str],
    lengths: LengthMix,
    speed_alone: SpeedAlone,
    tenants: int = 20,
    longest_hours: float = 168.0,
    time_sigma: float = 0.5,
    memory_sigma: float = 0.2,
) -> Iterator[Arrival]:
    """`jobs` arrivals by time, made as they are asked for.

    `load` is the work offered over what `workers` can do one job at a time: at 1 they would be just
    busy if nothing were trained together. The rate swings by half within a day.

    Raises:
        InvalidRequest: an argument is out of range.
    """
    for name, count in (("jobs", jobs), ("workers", workers), ("tenants", tenants)):
        if count < 1:
            raise InvalidRequest(f"{name} must be 1 or more, got {count}", param=name)
    for name, value in (("load", load), ("longest_hours", longest_hours)):
        if not 0 < value < math.inf:
            raise InvalidRequest(f"{name} must be more than 0, got {value}", param=name)
    traits = Traits(seed, bases, lengths, speed_alone, time_sigma, memory_sigma)
    rate = load * workers / mean_seconds(longest_hours * 3600.0)
    return _arrivals(jobs, rate, longest_hours * 3600.0, Random(seed), tenants, traits)


def _arrivals(
    jobs: int, rate: float, longest_seconds: float, random: Random, tenants: int, traits: Traits
) -> Iterator[Arrival]:
    names = [f"tenant-{number}" for number in range(1, tenants + 1)]
    bounds = list(accumulate(1 / rank**_ZIPF for rank in range(1, tenants + 1)))
    at = 0.0
    for number in range(jobs):
        at = _next(random, at, rate)
        place = bisect_right(bounds, random.random() * bounds[-1], hi=tenants - 1)
        seconds = min(longest_seconds, _MEDIAN_SECONDS * math.exp(_SIGMA * random.gauss(0.0, 1.0)))
        yield traits.arrival(random, f"job-{number}", names[place], at, seconds)


def _next(random: Random, at: float, rate: float) -> float:
    """The next arrival of a Poisson process whose rate swings: one of the highest rate, thinned
    (Lewis and Shedler, 1979)."""
    highest = rate * (1 + _WAVE)
    while True:
        at += random.expovariate(highest)
        now = rate * (1 + _WAVE * math.sin(2 * math.pi * at / DAY_SECONDS))
        if random.random() * highest < now:
            return at
