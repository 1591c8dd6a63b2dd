"""A policy file that changes under a process that reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from pando_shared.clock import FakeClock
from pando_shared.errors import InvalidPolicy
from pando_shared.policy import Policy
from pando_shared.policy_file import SETTLE_SECONDS, PolicyFile, read_policy
from pando_shared.settings import Settings


class Watched:
    """A policy file, and who watches it, under one clock."""

    def __init__(self, path: Path):
        self.path = path
        # Files are dated by the machine's own clock, which is far ahead of this one.
        self.clock = FakeClock()
        self.file = PolicyFile(path, self.clock)

    def write(self, text: str) -> None:
        """In place, as some editors do it."""
        self.path.write_text(text)

    def replace(self, text: str) -> None:
        """By another file of this name, as other editors do it."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def weight(self) -> float:
        return self.file.current().tenant("acme").weight

    def settled_weight(self) -> float:
        self.weight()
        self.clock.advance(SETTLE_SECONDS)
        return self.weight()


def weighing(weight: object) -> str:
    return f"[tenants.acme]\nweight = {weight}\n"


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "policy.toml")


def test_without_a_file_it_is_the_default() -> None:
    file = PolicyFile(None)
    assert file.current() == file.require() == Policy()
    assert file.problem is None


def test_a_change_counts_once_the_file_is_left_alone(watched: Watched) -> None:
    watched.write(weighing(2))
    assert watched.weight() == 2
    watched.write(weighing(30))
    assert watched.weight() == 2
    watched.clock.advance(SETTLE_SECONDS / 2)
    watched.write(weighing(400))
    assert watched.weight() == 2
    watched.clock.advance(SETTLE_SECONDS / 2)
    assert watched.weight() == 2
    watched.clock.advance(SETTLE_SECONDS / 2)
    assert watched.weight() == 400
    assert watched.file.problem is None


def test_a_change_of_long_ago_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(weighing(2))
    clock = FakeClock(path.stat().st_mtime)
    file = PolicyFile(path, clock)
    assert file.current().tenant("acme").weight == 2
    path.write_text(weighing(30))
    clock.advance(3600)
    assert file.current().tenant("acme").weight == 30


def test_a_file_put_in_the_place_of_another_is_noticed(watched: Watched) -> None:
    watched.write(weighing(2))
    assert watched.weight() == 2
    before = watched.path.stat()
    watched.replace(weighing(3))
    os.utime(watched.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.path.stat().st_size == before.st_size
    assert watched.settled_weight() == 3


def test_a_link_turned_to_another_file_is_noticed(watched: Watched, tmp_path: Path) -> None:
    """So Kubernetes changes what is mounted."""
    for weight in (2, 3):
        (tmp_path / f"{weight}.toml").write_text(weighing(weight))
    watched.path.symlink_to("2.toml")
    assert watched.weight() == 2
    turned = tmp_path / "turned"
    turned.symlink_to("3.toml")
    turned.replace(watched.path)
    assert watched.settled_weight() == 3


def test_a_file_that_does_not_change_is_read_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write(weighing(2))
    read = []
    of_path = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or of_path(path))
    for _ in range(5):
        watched.clock.advance(10)
        assert watched.weight() == 2
    assert read == [watched.path]


def test_a_wrong_file_leaves_the_last_good_policy(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.write(weighing(2))
    assert watched.weight() == 2
    watched.write(weighing(-2))
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            assert watched.settled_weight() == 2
    assert len(caplog.records) == 1
    problem = watched.file.problem
    assert problem is not None
    assert problem in caplog.text
    assert problem.startswith(f"{watched.path}: tenants.acme.weight = -2: must be")
    with pytest.raises(InvalidPolicy):
        watched.file.require()
    watched.write(weighing(-30))
    with caplog.at_level(logging.ERROR):
        assert watched.settled_weight() == 2
    assert len(caplog.records) == 2
    watched.write(weighing(4))
    assert watched.settled_weight() == 4
    assert watched.file.problem is None
    assert watched.file.require().tenant("acme").weight == 4


def test_a_file_that_is_gone_leaves_the_last_good_policy(watched: Watched) -> None:
    watched.write(weighing(2))
    assert watched.weight() == 2
    watched.path.unlink()
    assert watched.weight() == 2
    assert watched.file.problem is None
    assert watched.settled_weight() == 2
    assert watched.file.problem == f"{watched.path}: cannot be read: No such file or directory"
    watched.write(weighing(3))
    assert watched.settled_weight() == 3
    assert watched.file.problem is None


def test_a_file_that_is_wrong_from_the_start(watched: Watched) -> None:
    assert watched.file.current() == Policy()
    assert "cannot be read" in str(watched.file.problem)
    watched.write("half a fi")
    assert watched.settled_weight() == 1
    assert "line 1" in str(watched.file.problem)
    with pytest.raises(InvalidPolicy, match="line 1"):
        watched.file.require()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="cannot be read: No such file"):
        read_policy(tmp_path / "none.toml")
    with pytest.raises(InvalidPolicy, match="cannot be read: Is a directory"):
        read_policy(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[tenants]\n# caf\xe9\n")
    with pytest.raises(InvalidPolicy, match="line 2: not UTF-8"):
        read_policy(latin)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\r\nweight = 2\r\n", encoding="utf-8-sig")
    assert read_policy(path).tenant("acme").weight == 2


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANDO_POLICY_FILE", raising=False)
    assert Settings().policy_file is None
    monkeypatch.setenv("PANDO_POLICY_FILE", "/etc/pando/policy.toml")
    assert Settings().policy_file == Path("/etc/pando/policy.toml")
    monkeypatch.setenv("PANDO_POLICY_FILE", "")
    assert Settings().policy_file is None
