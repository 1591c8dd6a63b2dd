"""Settings that cannot be end a service with a sentence each, and no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pando_shared.read_settings import read_settings


def test_each_wrong_variable_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDO_PORT", "none")
    monkeypatch.setenv("PANDO_MODELS", "tiny")
    monkeypatch.setenv("PANDO_WEBHOOK_ALLOW", "10.0.0.0/8,10.1.1.1/8")
    with pytest.raises(SystemExit) as end:
        read_settings()
    lines = str(end.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "PANDO_MODELS",
        "PANDO_PORT",
        "PANDO_WEBHOOK_ALLOW",
    ]
    assert "NAME=PATH" in lines[0]


def test_right_ones_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDO_PORT", "9000")
    assert read_settings().port == 9000


@pytest.mark.parametrize("module", ["pando_api", "pando_scheduler", "pando_worker.main"])
def test_a_service_says_it_and_ends(module: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "PANDO_ROUND_SECONDS": "soon"}
    done = subprocess.run(
        [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("PANDO_ROUND_SECONDS: ")
    assert "Traceback" not in done.stderr
