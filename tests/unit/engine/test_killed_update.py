"""A process that dies by SIGKILL while it updates rows resumes from its checkpoint to the bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import killed_update
import pytest
from engine_jobs import steps_of
from killed_update import subject

from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import parameters_digest, restore_checkpoint
from pando_worker.engine.engine import Engine

CHILD = Path(killed_update.__file__)


def straight(folder: str) -> str:
    engine = Engine(load_base(folder), 150)
    engine.join(subject())
    steps_of(engine, ["j"])
    return parameters_digest(engine.jobs["j"])


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_resume_is_exact(model_folder, tmp_path, place):
    folder = model_folder("llama")
    rows = tmp_path / "rows"
    command = [sys.executable, str(CHILD), folder, str(tmp_path / "checkpoint")]
    if place == "disk":
        command.append(str(rows))
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Of step 7's two layers one was updated, the other had begun.
    assert killed.stdout.split() == ["updating", "layer", "2", "of", "step", "7"]
    if place == "disk":
        assert list(rows.iterdir()) == []

    engine = Engine(load_base(folder), 150)
    resumed = engine.join(subject())
    restore_checkpoint(resumed, tmp_path / "checkpoint")
    assert resumed.step == 5
    steps_of(engine, ["j"])
    assert parameters_digest(resumed) == straight(folder)
