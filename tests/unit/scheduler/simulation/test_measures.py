"""Measures of runs small enough to work out by hand."""

from __future__ import annotations

import pytest
from simulated_runs import arrival, first_come, outcome, run_of

from pando_scheduler.simulation.measures import jain, measure, quantile, utilisation
from pando_scheduler.simulation.run import Run, Sample, TenantAccount


def sample(at: float, useful: float, workers: int = 1) -> Sample:
    return Sample(at, 0, 0, workers, useful)


def test_turnaround() -> None:
    """1, 2, 3 and 10 s: mean 4, median 2.5; 95 % lie below 0.85 of the way from 3 to 10."""
    found = measure(run_of(10, 1, 3, 2))
    assert found.jobs == 4
    assert found.turnaround_mean == 4
    assert found.turnaround_median == 2.5
    assert found.turnaround_p95 == pytest.approx(3 + 0.85 * 7)


def test_jobs_that_did_not_finish_are_counted_apart() -> None:
    run = Run(
        "pando",
        [outcome(0, 0, 8), outcome(0, 3, None), outcome(0, None, None, waited=50.0)],
    )
    found = measure(run)
    assert (found.jobs, found.unfinished) == (3, 2)
    assert found.turnaround_mean == 8
    assert found.wait_max == 50
    assert found.wait_mean == pytest.approx(53 / 3)


def test_waits() -> None:
    """0 to 100 s, one each: the p-th percentile is p."""
    found = measure(Run("pando", [outcome(0, float(wait), 200) for wait in range(101)]))
    assert (found.wait_p95, found.wait_p99, found.wait_max) == (95, 99, 100)


def test_a_queue_by_hand() -> None:
    """Two jobs of 4 s at 0, one of 2 s at 1, on one worker: ends 4, 8, 10; turnarounds 4, 8, 9."""
    found = measure(first_come([arrival(0, 4), arrival(0, 4), arrival(1, 2)], workers=1))
    assert found.turnaround_mean == 7
    assert (found.wait_max, found.makespan, found.utilisation) == (7, 10, 1)


def test_jains_index() -> None:
    """Rates 1 and 3: 4² / (2 · 10) = 0.8. Who had no work does not count."""
    idle = TenantAccount(0.0, 0.0)
    assert jain([TenantAccount(10, 10), TenantAccount(60, 20), idle]) == pytest.approx(0.8)
    assert jain([TenantAccount(5, 10), TenantAccount(50, 100)]) == pytest.approx(1.0)
    assert jain([TenantAccount(5, 10), *[TenantAccount(0, 10)] * 3]) == pytest.approx(0.25)
    assert jain([]) == 1.0
    assert jain([TenantAccount(0, 10)]) == 1.0


def test_utilisation_is_over_worker_time() -> None:
    """1 worker at 0.5 for 10 s, then 3 at 1.0 for 20 s: (5 + 60) / (10 + 60)."""
    samples = [sample(0, 0.5), sample(10, 1.0, workers=3)]
    assert utilisation(samples, 30) == pytest.approx(65 / 70)
    assert utilisation([], 30) is None
    assert utilisation([sample(30, 1.0)], 30) is None
    assert utilisation([sample(0, 0.25), sample(40, 1.0)], 40) == pytest.approx(0.25)


def test_forecasts() -> None:
    """Started 60 s late, 120 s early, and one that was promised nothing: median of 1 and 2 min."""
    run = Run(
        "pando",
        [
            outcome(0, 160, 400, promised_start=100.0, promised_finish=100.0),
            outcome(0, 100, 200, promised_start=220.0),
            outcome(0, 100, 200),
            outcome(0, None, None, promised_start=1.0, promised_finish=2.0),
        ],
    )
    found = measure(run)
    assert found.start_error_minutes == pytest.approx(1.5)
    assert found.finish_error_minutes == pytest.approx(5)


def test_counts() -> None:
    run = Run(
        "pando",
        [outcome(lost=1, bypass_excess=0.5), outcome(lost=2), outcome(bypass_excess=1e-9)],
        out_of_memory=3,
        preemptions=4,
        checkpoints=5,
        swaps=6,
    )
    found = measure(run)
    assert (found.out_of_memory, found.preemptions, found.checkpoints) == (3, 4, 5)
    assert (found.swaps, found.lost, found.bypass_broken) == (6, 3, 2)


def test_an_empty_run_has_no_figures() -> None:
    found = measure(Run("pando"))
    assert found.jobs == found.unfinished == 0
    assert found.turnaround_mean is found.turnaround_p95 is found.wait_max is None
    assert found.start_error_minutes is found.utilisation is None


def test_quantiles() -> None:
    infinity = float("inf")
    assert quantile([], 0.5) is None
    assert quantile([7.0], 0.99) == 7
    assert quantile([0.0, 10.0], 0.25) == 2.5
    assert quantile([1.0, 2.0, infinity], 0.5) == 2
    assert quantile([1.0, 2.0, infinity], 0.51) == infinity
    assert quantile([1.0, infinity, infinity], 0.75) == infinity
