"""`pando simulate` hands everything on to the simulator."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

import pytest
from fake_service import Pando

from pando_cli.commands import simulate


class Simulator:
    """Stands in for the process; remembers its command line."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.command: Sequence[str] = ()

    def __call__(
        self, command: Sequence[str], *, check: bool
    ) -> subprocess.CompletedProcess[bytes]:
        self.command = command
        return subprocess.CompletedProcess(command, self.code)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--help",),
        ("-h",),
        ("--trace", "a file.csv", "--policy", "pando", "--policy", "sjf", "--json", "-"),
        ("--synthetic=5", "--question", "p95 wait < 10 min", "--seed", "-3"),
    ],
)
def test_arguments_arrive_as_they_are(
    pando: Pando, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    simulator = Simulator(0)
    monkeypatch.setattr(simulate.subprocess, "run", simulator)
    assert pando("simulate", *arguments).code == 0
    assert simulator.command == [sys.executable, "-m", "pando_scheduler.simulation", *arguments]


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (1, 1), (2, 2), (130, 130), (-9, 137)])
def test_its_exit_code_is_ours(
    pando: Pando, monkeypatch: pytest.MonkeyPatch, code: int, shown: int
) -> None:
    monkeypatch.setattr(simulate.subprocess, "run", Simulator(code))
    assert pando("simulate").code == shown


def test_its_help_is_ours() -> None:
    ours, its = (
        subprocess.run(
            [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for command in (("pando_cli", "simulate"), ("pando_scheduler.simulation",))
    )
    assert ours == its
    assert "--question" in ours


def test_without_the_scheduler(pando: Pando, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = pando("simulate", "--help")
    assert done.code == 2
    assert "pando-scheduler" in done.err


def test_it_is_listed(pando: Pando) -> None:
    assert "simulate" in pando("--help").out
