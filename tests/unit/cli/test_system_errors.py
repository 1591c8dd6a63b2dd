"""What the machine refuses is told in its own words, without a trace of our code."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_service import Pando


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a-file"
    path.write_text("not a folder")
    return path


@pytest.mark.parametrize(
    "command",
    [("up", "--port", "0"), ("up", "--detach", "--port", "0"), ("down",), ("list",)],
    ids=" ".join,
)
def test_a_home_that_is_a_file(pando: Pando, file: Path, command: tuple[str, ...]) -> None:
    done = pando(*command, "--home", str(file))
    assert (done.code, done.out) == (1, "")
    assert str(file) in done.err
    assert "Traceback" not in done.err
    error = pando(*command, "--home", str(file), "--json").json["error"]
    assert error["code"] == "system_error"
    assert error["message"].startswith(str(file))


def test_a_configuration_that_is_a_folder(pando: Pando, tmp_path: Path) -> None:
    (tmp_path / "client.json").mkdir()
    done = pando("list", "--home", str(tmp_path))
    assert done.code == 1
    assert f"{tmp_path}/client.json: Is a directory" in done.err
