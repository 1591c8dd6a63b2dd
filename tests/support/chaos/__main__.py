"""The command: `python -m chaos --help`, or `make chaos`.

A cluster whose parts are broken at random while jobs stream in, and what came of them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from chaos.cluster import ROOT
from chaos.report import passed, show, write
from chaos.run import Options, run


def main() -> int:
    """Returns 1 if anything was lost, done twice, stuck, wrong, or slow to recover."""
    parser = argparse.ArgumentParser(
        prog="chaos", description="Break a cluster at random while jobs train, and judge the rest."
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="in which the faults come")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "chaos.json")
    parser.add_argument("--home", type=Path, help="keep the logs in this new folder")
    arguments = parser.parse_args()
    options = Options(arguments.minutes, arguments.faults, arguments.seed, arguments.workers)
    console = Console()
    # Whoever ends this ends the cluster too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="pando-chaos-") as scratch:
        home = arguments.home or Path(scratch) / "home"
        outcome = run(options, home, lambda line: console.print(line, markup=False))
    show(outcome, console)
    write(outcome, arguments.json)
    return 0 if passed(outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
