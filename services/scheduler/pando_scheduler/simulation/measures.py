"""The figures that a policy is judged by, taken from one run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from pando_scheduler.simulation.run import Run, Sample, TenantAccount


@dataclass(frozen=True, slots=True)
class Measures:
    """Times are seconds, forecast errors minutes; None: there was nothing to measure.

    Turnaround is of the jobs that finished, the wait of all. `jain` is Jain's index of the tenants'
    service over the time that they had work, `utilisation` the share of all workers' saturated
    speed in use. Forecast errors are the medians of |came true - promised|. `bypass_broken` counts
    jobs starved beyond the promised bound.
    """

    jobs: int
    unfinished: int
    turnaround_mean: float | None
    turnaround_median: float | None
    turnaround_p95: float | None
    makespan: float
    wait_mean: float | None
    wait_p95: float | None
    wait_p99: float | None
    wait_max: float | None
    jain: float
    utilisation: float | None
    out_of_memory: int
    preemptions: int
    checkpoints: int
    swaps: int
    lost: int
    bypass_broken: int
    start_error_minutes: float | None
    finish_error_minutes: float | None


def measure(run: Run) -> Measures:
    turnarounds = sorted(turnaround_seconds(run))
    waits = sorted(outcome.waited for outcome in run.outcomes)
    return Measures(
        jobs=len(run.outcomes),
        unfinished=len(run.outcomes) - len(turnarounds),
        turnaround_mean=fmean(turnarounds) if turnarounds else None,
        turnaround_median=median(turnarounds) if turnarounds else None,
        turnaround_p95=quantile(turnarounds, 0.95),
        makespan=run.makespan,
        wait_mean=fmean(waits) if waits else None,
        wait_p95=quantile(waits, 0.95),
        wait_p99=quantile(waits, 0.99),
        wait_max=max(waits, default=None),
        jain=jain(run.tenants.values()),
        utilisation=utilisation(run.samples, run.makespan),
        out_of_memory=run.out_of_memory,
        preemptions=run.preemptions,
        checkpoints=run.checkpoints,
        swaps=run.swaps,
        lost=sum(outcome.lost for outcome in run.outcomes),
        bypass_broken=sum(outcome.bypass_excess > 0 for outcome in run.outcomes),
        start_error_minutes=_error_minutes((o.started, o.promised_start) for o in run.outcomes),
        finish_error_minutes=_error_minutes((o.finished, o.promised_finish) for o in run.outcomes),
    )


def turnaround_seconds(run: Run) -> list[float]:
    """From arrival to end, of the jobs that finished."""
    return [o.finished - o.arrived for o in run.outcomes if o.finished is not None]


def quantile(ascending: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie, linear between neighbours."""
    if not ascending:
        return None
    place = share * (len(ascending) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ascending) - 1)
    # An infinite value must not turn its finite neighbour's quantile into not-a-number.
    if place == low or ascending[low] == ascending[high]:
        return ascending[low]
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])


def jain(accounts: Iterable[TenantAccount]) -> float:
    """Jain's index (Σx)² / (n Σx²) of service over backlogged time: 1 is fair, 1/n one takes all.

    Tenants that never had work do not count.
    """
    rates = [a.service / a.backlogged for a in accounts if a.backlogged > 0]
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 1.0


def utilisation(samples: Sequence[Sample], until: float) -> float | None:
    """Mean of the useful share over worker time. A sample holds until the next, the last `until`
    then."""
    ends = [*(sample.at for sample in samples[1:]), until]
    weights = [
        sample.workers * max(0.0, end - sample.at)
        for sample, end in zip(samples, ends, strict=False)
    ]
    total = sum(weights)
    if not total:
        return None
    return sum(w * sample.useful for w, sample in zip(weights, samples, strict=True)) / total


def _error_minutes(pairs: Iterable[tuple[float | None, float | None]]) -> float | None:
    errors = [
        abs(true - told) / 60 for true, told in pairs if true is not None and told is not None
    ]
    return median(errors) if errors else None
