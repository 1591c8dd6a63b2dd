"""A minute of everything at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chaos.run import Options, run

pytestmark = pytest.mark.e2e

#: The same faults in the same order at every run; when exactly they strike is the machine's.
SEED = 11
RECIPES = ("lora-40x8", "paca-100x8", "meft-40x8")


def test_a_minute_of_faults_leaves_no_trace(tmp_path: Path) -> None:
    options = Options(minutes=1.1, faults=16, seed=SEED, workers=2, recipes=RECIPES)
    outcome = run(options, tmp_path / "home", print)
    verdict = outcome.verdict
    assert verdict.good, verdict
    assert verdict.jobs >= 10
    # How fast they recover is for `make chaos` to judge: a machine that tests is no place for it.
    assert all(math.isfinite(each.seconds) for each in outcome.recoveries)
