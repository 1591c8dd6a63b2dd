"""Wishes, and their figures by hand."""

from __future__ import annotations

import math

import pytest
from simulated_runs import outcome

from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.wish import parse_wish
from pando_shared.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "share", "measure", "strict", "seconds"),
    [
        ("p95 wait < 10 min", 0.95, "wait", True, 600),
        ("mean turnaround <= 2 h", None, "turnaround", False, 7200),
        ("max wait < 1 h", 1.0, "wait", True, 3600),
        (" Median WAIT<=1.5d ", 0.5, "wait", False, 129600),
        ("p99.9 turnaround <30s", 0.999, "turnaround", True, 30),
    ],
)
def test_wishes(text: str, share: float | None, measure: str, strict: bool, seconds: float) -> None:
    wish = parse_wish(text)
    assert wish.share == (None if share is None else pytest.approx(share))
    assert (wish.measure, wish.strict, wish.seconds) == (measure, strict, seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has not this form"),
        ("p95 wait 10 min", "it has not this form"),
        ("p95 wait > 10 min", "it has not this form"),
        ("most wait < 10 min", "'most' is no statistic"),
        ("p0 wait < 10 min", "'p0' is no statistic"),
        ("p100 wait < 10 min", "'p100' is no statistic"),
        ("p95 delay < 10 min", "'delay' is no measure; use wait or turnaround"),
        ("p95 wait < ten min", "no number"),
        ("p95 wait < -1 min", "'-1' is no number"),
        ("p95 wait < nan min", "no number"),
        ("p95 wait < 10", "'' is no unit; use s, min, h, d"),
        ("p95 wait < 10 minutes", "'minutes' is no unit"),
    ],
)
def test_a_wish_that_cannot_be_read_is_explained(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_wish(text)
    assert repr(text) in refused.value.message
    assert says in refused.value.message
    assert "'p95 wait < 10 min'" in refused.value.message


def figure(text: str, run: Run) -> float:
    return parse_wish(text).figure(run)


def test_figures_by_hand() -> None:
    run = Run("pando", [outcome(0, wait, 100) for wait in (0.0, 10.0, 20.0, 50.0)])
    assert figure("mean wait < 1 s", run) == 20
    assert figure("median wait < 1 s", run) == 15
    assert figure("max wait < 1 s", run) == 50
    assert figure("max turnaround < 1 s", run) == 100
    assert figure("max wait < 1 s", Run("pando")) == 0


def test_jobs_without_an_end_break_any_wish_that_looks_at_them() -> None:
    """Of ten jobs one never started: the maximum and the mean are infinite, the median is not."""
    run = Run("pando", [*(outcome(0, 1.0, 2) for _ in range(9)), outcome(0, None, None)])
    assert figure("max wait < 1 s", run) == math.inf
    assert figure("mean turnaround < 1 s", run) == math.inf
    assert figure("median wait < 1 s", run) == 1
    assert parse_wish("max wait < 1 s").in_its_unit(math.inf) == "without end"
    assert parse_wish("max wait < 1 min").in_its_unit(90) == "1.5 min"


def test_less_and_at_most() -> None:
    assert not parse_wish("max wait < 1 min").met_by(60)
    assert parse_wish("max wait <= 1 min").met_by(60)
