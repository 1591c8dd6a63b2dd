"""The line on stderr, by a clock that the test moves."""

from __future__ import annotations

import io

from pando_scheduler.simulation.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    progress.begin("pando, seed 1")
    clock.now += 9
    progress(43200, 10, 1000)
    assert stream.getvalue() == ""
    clock.now += 1
    progress(86400, 250, 1000)
    progress(86400, 251, 1000)
    progress.end()
    # 250 jobs in 10 s: the other 750 take 30.
    assert stream.getvalue() == "pando, seed 1: 250 of 1,000 jobs, day 1.0, about 30 s left\n"


def test_nothing_is_foretold_before_a_job_has_finished() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    clock.now += 10
    progress(0, 0, 5)
    assert stream.getvalue() == ": 0 of 5 jobs, day 0.0\n"


def test_a_terminals_line_is_renewed_and_cleared() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock)
    progress.begin("sjf")
    for finished in (1000, 1):
        clock.now += 1
        progress(0, finished, 2000)
    progress.begin("las")
    first, second, cleared, rest = stream.getvalue().split("\r")[1:]
    assert first == "sjf: 1,000 of 2,000 jobs, day 0.0, about 1 s left"
    assert second.rstrip() == "sjf: 1 of 2,000 jobs, day 0.0, about 3998 s left"
    assert cleared.strip() == rest == ""
    assert len(cleared) >= len(second.rstrip())
