"""The command over the simulated world itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pando_scheduler.simulation.contenders import CONTENDERS
from pando_scheduler.simulation.main import main
from pando_scheduler.simulation.world_backend import WorldBackend

BASES = ("llama-3.1-8b", "mistral-7b")


def call(*arguments: str) -> int:
    return main(arguments, WorldBackend, BASES, dict.fromkeys(CONTENDERS, ""))


def test_every_job_ends_under_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--synthetic", "60", "--workers", "3", "--longest-hours", "6", "--policy", "all")
    assert call(*arguments, "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["policy"] for one in document["policies"]] == list(CONTENDERS)
    for one in document["policies"]:
        assert one["figures"]["unfinished"]["high"] == 0
        assert one["figures"]["jobs"]["mean"] == 60
        assert one["runs"][0]["settings"]["load_workers"] == 3


def test_a_job_alone_takes_its_duration_in_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour, and what it takes to load a base and to begin: at most a minute."""
    trace = tmp_path / "philly.csv"
    trace.write_text("timestamp,duration,num_gpus,cluster\n2017-10-09 00:00:00,3600,1,acme\n")
    arguments = ("--trace", str(trace), "--thin", "1", "--policy", "pando", "--json", "-")
    assert call(*arguments) == 0
    figures = json.loads(capsys.readouterr().out)["policies"][0]["figures"]
    assert 3600 <= figures["turnaround_mean"]["mean"] <= 3660


def test_workers_fail(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--synthetic", "40", "--workers", "3", "--longest-hours", "6", "--failures", "4")
    assert call(*arguments, "--policy", "pando", "--json", "-") == 0
    (pando,) = json.loads(capsys.readouterr().out)["policies"]
    assert pando["figures"]["lost"]["mean"] > 0
    assert pando["figures"]["unfinished"]["mean"] == 0


def test_a_base_that_fits_no_worker(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--synthetic", "20", "--worker-gib", "12") == 2
    error = capsys.readouterr().err
    assert "needs" in error
    assert "a worker has 12.0; raise --worker-gib" in error


def test_unknown_bases_and_bad_policy_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--synthetic", "1", "--bases", "gpt") == 2
    assert "choose from llama" in capsys.readouterr().err
    policy = tmp_path / "policy.toml"
    policy.write_text("wheight = 3\n")
    assert call("--synthetic", "1", "--policy-file", str(policy)) == 2
    assert str(policy) in capsys.readouterr().err


def test_as_a_module() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pando_scheduler.simulation", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0
    assert "srpt-oracle" in found.stdout
