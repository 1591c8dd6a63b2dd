"""Drawings: what stands in them, not how they look."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest
from simulated_runs import arrival, first_come, run_of

from pando_scheduler.simulation import plots
from pando_scheduler.simulation.run import Run, TenantAccount
from pando_scheduler.simulation.spread import by_policy
from pando_shared.errors import Unavailable

HOUR = 3600.0


@pytest.fixture
def runs() -> list[Run]:
    jobs = [arrival(i * 600.0, 60.0 * (1 + i % 50), tenant=f"t{i % 12}") for i in range(200)]
    return [
        first_come(jobs, 3, "pando"),
        first_come(jobs, 2, "fifo-fused"),
        first_come(jobs, 2, "a-policy-of-my-own"),
    ]


def test_three_files_that_are_the_same_when_drawn_again(runs: list[Run], tmp_path: Path) -> None:
    files = plots.draw_all(runs, tmp_path / "a" / "b")
    assert [file.name for file in files] == ["turnaround.svg", "cluster.svg", "tenants.svg"]
    again = plots.draw_all(runs, tmp_path / "c")
    for one, two in zip(files, again, strict=True):
        assert ElementTree.parse(one).getroot().tag.endswith("svg")
        assert one.read_bytes() == two.read_bytes()


def test_the_curve_of_turnarounds_ends_at_the_share_that_finished() -> None:
    run = run_of(1 * HOUR, 3 * HOUR, 2 * HOUR, 4 * HOUR)
    run.outcomes[3].finished = None
    (axes,) = plots.turnaround(by_policy([run])).axes
    (line,) = axes.lines
    assert list(line.get_xdata()) == [1, 2, 3]
    assert list(line.get_ydata()) == [25, 50, 75]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel()
    assert "%" in axes.get_ylabel()


def test_many_jobs_are_thinned_to_the_last() -> None:
    (line,) = plots.turnaround(by_policy([run_of(*range(1, 10_001))])).axes[0].lines
    assert len(line.get_xdata()) <= 500
    assert list(line.get_ydata())[-1] == 100
    assert list(line.get_xdata())[-1] == pytest.approx(10_000 / HOUR)


def bars(axes: object) -> Sequence[float]:
    return [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]


def test_shares_of_tenants() -> None:
    """Served 30 and 10 s, with work for 60 and 10 s: 75 and 25 % of all; 0.5 and 1 a second, so
    a third and two thirds."""
    accounts = {"big": TenantAccount(30, 60), "small": TenantAccount(10, 10)}
    left, right = plots.tenants(by_policy([run_of(1, tenants=accounts)])).axes
    assert bars(left) == pytest.approx([75, 25])
    assert bars(right) == pytest.approx([100 / 3, 200 / 3])


def test_small_tenants_are_drawn_together(runs: list[Run]) -> None:
    figure = plots.tenants(by_policy(runs))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 9
    assert labels[-1] == "4 others"
    widths = bars(figure.axes[0])
    assert [sum(widths[i::3]) for i in range(3)] == pytest.approx([100, 100, 100])


def test_runs_with_nothing_in_them(tmp_path: Path) -> None:
    assert len(plots.draw_all([Run("pando")], tmp_path)) == 3


def test_without_matplotlib(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unavailable, match=r"pip install 'pando-scheduler\[plots\]'"):
        plots.draw_all(runs, tmp_path)
