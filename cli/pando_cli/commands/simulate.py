"""`pando simulate`: the scheduler's simulator, which is a program of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import typer

from pando_cli.errors import UsageError

_PACKAGE = "pando_scheduler"


def simulate(context: typer.Context) -> None:
    """Try scheduling policies on a simulated cluster, and ask how many workers a trace needs.

    Takes what `python -m pando_scheduler.simulation` takes; `pando simulate --help` tells.

    Examples:

        pando simulate --trace philly.csv --week 2017-10-09 --policy all --seeds 4
        pando simulate --synthetic 10000 --workers 20 --question "p95 wait < 10 min"
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise UsageError(
            "the simulator is a part of the scheduler, which is not installed here",
            hint="Install the distribution pando-scheduler beside this command.",
        )
    command = [sys.executable, "-m", f"{_PACKAGE}.simulation", *context.args]
    code = subprocess.run(command, check=False).returncode
    # A process that a signal ended has the code that shells give it.
    raise typer.Exit(code if code >= 0 else 128 - code)
