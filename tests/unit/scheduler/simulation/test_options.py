"""The simulator's command line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pando_scheduler.simulation.options import Options, parse

POLICIES = {"pando": "ours", "fifo-one": "one job a GPU", "fifo-fused": "as they come"}


def options(*arguments: str) -> Options:
    return parse(arguments, ("a", "b"), POLICIES)


def test_what_is_taken_for_granted() -> None:
    found = options("--trace", "philly.csv")
    assert found.trace == Path("philly.csv")
    assert (found.week, found.days, found.thin) == (date(2017, 10, 9), 7, 0.1)
    assert (found.workers, found.worker_gib, found.bases) == (6, 80, ("a", "b"))
    assert (found.policies, found.first_seed, found.seeds) == ((), 1, 1)
    assert not found.forecasts
    assert found.failures_hours is found.question is found.json is found.plots is None


def test_everything() -> None:
    found = options(
        *("--synthetic", "100", "--load", "0.7", "--tenants", "3", "--lengths", "azure.csv"),
        *("--longest-hours", "2.5", "--time-noise", "0", "--memory-noise", "0.1", "--seed", "5"),
        *("--workers", "9", "--worker-gib", "24", "--bases", "x, y", "--failures", "168"),
        *("--policy", "fifo-one", "--policy", "pando", "--policy", "fifo-one", "--seeds", "4"),
        *("--policy-file", "p.toml", "--json", "-", "--plots", "here"),
    )
    assert (found.synthetic, found.load, found.tenants) == (100, 0.7, 3)
    assert (found.time_noise, found.memory_noise, found.longest_hours) == (0, 0.1, 2.5)
    assert (found.bases, found.failures_hours) == (("x", "y"), 168)
    assert found.policies == ("fifo-one", "pando")
    assert (found.first_seed, found.seeds, found.json) == (5, 4, "-")


def test_all_policies() -> None:
    assert options("--synthetic", "1", "--policy", "all").policies == tuple(POLICIES)


def test_a_question() -> None:
    found = options("--trace", "t", "--question", "p95 wait < 10 min", "--at-most", "9")
    assert found.question is not None
    assert (found.question.seconds, found.at_most) == (600, 9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "--trace FILE or --synthetic JOBS"),
        ("--trace t --synthetic 5", "not allowed with argument"),
        ("--synthetic 0", "--synthetic: must be a whole number of 1 or more, got '0'"),
        ("--trace t --thin 1.5", "--thin: must be more than 0 and at most 1, got '1.5'"),
        ("--trace t --week monday", "--week: must be YYYY-MM-DD, got 'monday'"),
        ("--trace t --policy best", "'best'"),
        ("--trace t --workers -1", "--workers"),
        ("--trace t --worker-gib nan", "--worker-gib: must be a number of more than 0"),
        ("--trace t --time-noise -1", "--time-noise: must be a number of 0 or more"),
        ("--trace t --bases a,a", "--bases: must be different names"),
        ("--trace t --bases a,", "--bases"),
        ("--trace t --failures inf", "--failures"),
        ("--trace t --question most", "cannot read the wish 'most'"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        options(*arguments.split())
    assert leaving.value.code == 2
    error = capsys.readouterr().err
    assert says in error


def test_plots_of_a_question_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--trace", "t", "--question", "max wait < 1 h", "--plots", "d")
    assert "leave it out with --question" in capsys.readouterr().err


def test_help_names_every_policy_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        options("--help")
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert all(f"  {policy} " in text and about in text for policy, about in POLICIES.items())
    assert '--question "p95 wait < 10 min"' in text
    assert all(len(line) <= 110 for line in text.splitlines())
