"""Tables and JSON of runs made by hand."""

from __future__ import annotations

import json

import pytest
from simulated_runs import outcome, run_of

from pando_scheduler.simulation.run import Run, TenantAccount
from pando_scheduler.simulation.spread import ratio, spread
from pando_scheduler.simulation.table import table, to_json

HOUR = 3600.0


def lines_of(text: str, policy: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[:1] == [policy]]


def test_a_line_a_policy_in_hours_with_its_ratio() -> None:
    text = table(
        [
            run_of(2 * HOUR, policy="pando", makespan=30 * HOUR),
            run_of(8 * HOUR, policy="fifo-fused", makespan=40 * HOUR),
        ]
    )
    times, counts = lines_of(text, "pando")
    assert times == ["pando", "2.0", "0.25", "2.00", "2.0", "0.25", "30.0", "0.0", "0.0"]
    assert counts == ["pando", "1.000", "-", "0", "0", "0", "0", "0", "-", "-"]
    assert lines_of(text, "fifo-fused")[0][1:3] == ["8.0", "1.00"]


def test_columns_are_aligned_and_lines_have_no_blanks_at_their_end() -> None:
    text = table([run_of(HOUR), run_of(100 * HOUR, policy="fifo-fused")])
    for block in text.split("\n\n"):
        _, heading, *rows = block.splitlines()
        assert {len(heading)} == {len(row) for row in rows}
        assert all(line == line.rstrip() for line in block.splitlines())


def test_no_ratio_without_the_baseline() -> None:
    text = table([run_of(HOUR)])
    assert "fifo-fused" not in text
    assert len(lines_of(text, "pando")[0]) == 7


def test_seeds_are_one_line_with_their_spread() -> None:
    """1 h and 3 h: 2 ± √2."""
    text = table([run_of(HOUR), run_of(3 * HOUR)])
    assert lines_of(text, "pando")[0][1:3] == ["2.0", "±1.4"]


def test_ratios_are_taken_seed_by_seed() -> None:
    """1/2 and 9/3 are 1.75 on average, not 10/5."""
    document = to_json(
        [run_of(1), run_of(9), run_of(2, policy="fifo-fused"), run_of(3, policy="fifo-fused")]
    )
    pando, baseline = document["policies"]
    assert pando["ratios"]["turnaround_mean"]["mean"] == 1.75
    assert pando["ratios"]["turnaround_mean"]["low"] == 0.5
    assert baseline["ratios"]["turnaround_p95"]["mean"] == 1


def test_json_of_one_run() -> None:
    run = run_of(
        4,
        settings={"seed": 7},
        tenants={"acme": TenantAccount(3.0, 4.0)},
        plans=2,
        plan_seconds=0.5,
        seconds=9.0,
    )
    document = json.loads(json.dumps(to_json(run), allow_nan=False))
    (pando,) = document["policies"]
    assert pando["ratios"] is None
    figure = pando["figures"]["turnaround_mean"]
    assert figure == {"mean": 4, "deviation": 0, "low": 4, "high": 4}
    assert pando["figures"]["start_error_minutes"] is None
    (single,) = pando["runs"]
    assert single["settings"] == {"seed": 7}
    assert single["tenants"] == {"acme": {"service": 3, "backlogged": 4}}
    assert (single["plans"], single["plan_seconds"], single["turnaround_p95"]) == (2, 0.5, 4)


def test_nothing_finished() -> None:
    run = Run("pando", [outcome(finished=None)])
    assert lines_of(table([run]), "pando")[0][1] == "-"
    assert to_json(run)["policies"][0]["figures"]["turnaround_mean"] is None


def test_spreads() -> None:
    found = spread([2.0, None, 4.0, 9.0])
    assert found is not None
    assert (found.mean, found.low, found.high) == (5, 2, 9)
    assert found.deviation == pytest.approx(13**0.5)
    assert spread([None]) is None
    assert ratio([1.0, None, 3.0], [2.0, 5.0, 0.0]) == spread([0.5])
