from __future__ import annotations

import os
from pathlib import Path

import pytest

from pando_cli.doctor.finding import Status
from pando_cli.doctor.permissions import home_mode, key_files
from pando_cli.home import Home
from pando_cli.private_file import write_private


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home.locate(tmp_path / "home")
    found.root.mkdir(mode=0o700)
    return found


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        (0o700, Status.OK),
        (0o750, Status.WARN),
        (0o755, Status.WARN),
        (0o770, Status.FAIL),
        (0o777, Status.FAIL),
    ],
)
def test_the_homes_mode(home: Home, mode: int, status: Status) -> None:
    home.root.chmod(mode)
    found = home_mode(home)
    assert found.status is status
    assert (f"chmod 700 {home.root}" in found.mend) == (status is not Status.OK)


def test_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    assert home_mode(Home.locate(tmp_path / "none")).status is Status.SKIPPED
    assert key_files(Home.locate(tmp_path / "none")).status is Status.SKIPPED


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    (tmp_path / "home").chmod(0o700)
    assert home_mode(Home.locate(tmp_path / "home")).status is Status.FAIL


def test_a_home_that_we_may_not_write(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = home_mode(home)
    assert found.status is Status.FAIL
    assert "not ours to write" in found.found


def test_key_files_as_they_are_written(home: Home) -> None:
    write_private(home.client_config, "{}")
    write_private(home.redis / "address.json", "{}")
    assert key_files(home).status is Status.OK


@pytest.mark.parametrize("name", ["client.json", "stack.json", "redis/address.json"])
def test_key_files_that_others_may_read(home: Home, name: str) -> None:
    write_private(home.client_config, "{}")
    path = home.root / name
    write_private(path, "{}")
    path.chmod(0o640)
    found = key_files(home)
    assert found.status is Status.FAIL
    assert path.name in found.found
    assert f"chmod 600 {path}" in found.mend


def test_key_files_of_another_user(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(home.client_config, "{}")
    monkeypatch.setattr(os, "geteuid", lambda: home.root.stat().st_uid + 1)
    found = key_files(home)
    assert found.status is Status.WARN
    assert "client.json" in found.found
