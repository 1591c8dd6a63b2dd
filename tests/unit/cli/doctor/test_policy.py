from __future__ import annotations

from pathlib import Path

from pando_cli.doctor.finding import Status
from pando_cli.doctor.policy import policy


def test_none(tmp_path: Path) -> None:
    assert policy(None).status is Status.SKIPPED


def test_one_that_came_too_late(tmp_path: Path) -> None:
    found = policy(None, tmp_path / "policy.toml")
    assert found.status is Status.WARN
    assert "pando up" in found.mend


def test_right(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[tenants.acme]\nweight = 2\n")
    assert policy(file).status is Status.OK


def test_wrong(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[tenants.acme]\nweight = -1\n")
    found = policy(file)
    assert found.status is Status.FAIL
    assert "weight" in found.found
    assert f"pando policy check {file}" in found.mend


def test_gone(tmp_path: Path) -> None:
    assert policy(tmp_path / "gone.toml").status is Status.FAIL
