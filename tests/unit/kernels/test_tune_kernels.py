"""The script that tunes kernels finds its operations and configurations, though not a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def tune(*arguments: str) -> str:
    command = [sys.executable, "benchmarks/tune_kernels.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_runs_what_it_would_time() -> None:
    kernels = ("shrink", "sum_db", "meft_lookup", "meft_combine", "meft_sum", "meft_weigh")
    chosen = [word for name in kernels for word in ("--kernel", name)]
    assert tune("--smoke", *chosen) == "".join(f"{name}: ran\n" for name in kernels)


def test_it_lists_what_it_would_time() -> None:
    found = tune("--list", "--kernel", "expand", "--extent", "4096")
    assert found == "expand n=4096 rank=16: 6 configurations\n"
