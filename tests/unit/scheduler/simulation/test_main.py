"""The command from arguments to exit code, over a queue that is known instead of the world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from simulated_runs import first_come

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.backend import Report
from pando_scheduler.simulation.main import main
from pando_scheduler.simulation.options import Options
from pando_scheduler.simulation.run import Run
from pando_shared.errors import InvalidRequest, Unavailable

POLICIES = dict.fromkeys(("pando", "fifo-one", "fifo-fused"), "first come, first served")
#: Six jobs of ten minutes at midnight.
ROWS = "timestamp,duration,num_gpus,cluster\n" + "2017-10-09 00:00:00,600,1,acme\n" * 6


class Queue:
    """First come, first served, whatever the policy; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], int, str, int]] = []

    def speed_alone(self, step_tokens: float, method: str) -> float:
        return 1.0

    def run(
        self, arrivals: Sequence[Arrival], workers: int, policy: str, seed: int, report: Report
    ) -> Run:
        self.asked.append((tuple(job.id for job in arrivals), workers, policy, seed))
        report(0.0, 0, len(arrivals))
        return first_come(arrivals, workers, policy)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "philly.csv"
    path.write_text(ROWS)
    return str(path)


def call(queue: Queue, *arguments: str) -> int:
    return main(arguments, lambda options: queue, ("a",), POLICIES)


def test_a_table(queue: Queue, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(queue, "--trace", trace, "--thin", "1", "--workers", "2") == 0
    output = capsys.readouterr()
    # Three rows of two jobs: 10, 20, 30 min.
    assert output.out.splitlines()[2].split()[:4] == ["pando", "0.3", "1.00", "0.33"]
    assert [asked[1:] for asked in queue.asked] == [(2, "pando", 1), (2, "fifo-fused", 1)]
    assert output.err == ""


def test_policies_share_the_jobs_of_a_seed_and_seeds_differ(queue: Queue) -> None:
    arguments = ("--synthetic", "20", "--policy", "fifo-one", "--policy", "pando", "--seeds", "2")
    assert call(queue, *arguments, "--seed", "4") == 0
    assert [asked[2:] for asked in queue.asked] == [
        ("fifo-one", 4),
        ("pando", 4),
        ("fifo-one", 5),
        ("pando", 5),
    ]


def test_json_beside_the_table_and_instead_of_it(
    queue: Queue, trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "out.json"
    arguments = ("--trace", trace, "--thin", "1", "--policy", "pando", "--workers", "2")
    assert call(queue, *arguments, "--json", str(target)) == 0
    assert "turnaround" in capsys.readouterr().out
    assert call(queue, *arguments, "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(target.read_text())
    assert document["policies"][0]["figures"]["turnaround_mean"]["mean"] == pytest.approx(1200)


def test_plots(queue: Queue, trace: str, tmp_path: Path) -> None:
    assert call(queue, "--trace", trace, "--thin", "1", "--plots", str(tmp_path / "plots")) == 0
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 3


def test_a_question(queue: Queue, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On n workers the last of six jobs starts after 10 (⌈6/n⌉ - 1) min."""
    arguments = ("--trace", trace, "--thin", "1", "--question", "max wait < 15 min")
    assert call(queue, *arguments, "--at-most", "8") == 0
    assert capsys.readouterr().out.splitlines() == [
        "max wait < 15 min",
        "pando, seed 1: 3 workers; it is 10 min, with 2 it would be 20 min",
    ]
    assert call(queue, *arguments, "--json", "-") == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert (answer["workers"], answer["figure_seconds"]) == (3, pytest.approx(600))
    assert answer["figure_below_seconds"] == pytest.approx(1200)


def test_a_question_without_an_answer(
    queue: Queue, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--trace", trace, "--thin", "1", "--question", "max wait < 1 s", "--at-most", "2")
    assert call(queue, *arguments) == 1
    assert "more than 2 workers; with 2 it is 1.2e+03 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidRequest("no such base"), 2), (Unavailable("not there"), 1)]
)
def test_errors_are_a_line_and_a_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: Options) -> Queue:
        raise error

    assert main(["--synthetic", "1"], fail, ("a",), POLICIES) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_missing_trace(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(queue, "--trace", "/nowhere/philly.csv") == 2
    assert "/nowhere/philly.csv: cannot be read" in capsys.readouterr().err


def test_thinned_to_nothing(queue: Queue, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(queue, "--trace", trace, "--thin", "0.000001") == 2
    assert "raise --thin" in capsys.readouterr().err


def test_outputs_that_cannot_be_written_are_told_before_anything_runs(
    queue: Queue, trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(queue, "--trace", trace, "--json", str(tmp_path)) == 2
    assert call(queue, "--trace", trace, "--plots", trace) == 2
    assert "--plots: cannot make the folder" in capsys.readouterr().err
    assert queue.asked == []


def test_interrupted(trace: str) -> None:
    class Interrupted(Queue):
        def speed_alone(self, step_tokens: float, method: str) -> float:
            raise KeyboardInterrupt

    assert call(Interrupted(), "--trace", trace, "--thin", "1") == 130
