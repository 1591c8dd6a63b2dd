"""`pando demo`, whole: what a stranger sees first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

pytestmark = pytest.mark.e2e

PANDO = Path(sys.executable).parent / "pando"


def test_four_adapters_change_what_the_model_says(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [PANDO, "demo", "--json", "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)

    assert sorted(job["method"] for job in result["jobs"]) == ["lora", "lora", "meft", "paca"]
    for job in result["jobs"]:
        assert job["status"] == "succeeded"
        assert job["loss_after"] < 0.5 * job["loss_before"]
        assert job["tokens_per_second"] > 0
        assert 0 < job["measured_peak_bytes"] <= job["predicted_peak_bytes"]
        (weights,) = Path(job["adapter_path"]).glob("*.safetensors")
        with safe_open(weights, "numpy") as tensors:
            assert len(tensors.keys()) > 0

    for prompt in {answer["prompt"] for answer in result["answers"]}:
        said = [answer["text"] for answer in result["answers"] if answer["prompt"] == prompt]
        assert len(said) == 5
        assert len(set(said)) == 5
