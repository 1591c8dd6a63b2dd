from __future__ import annotations

from pathlib import Path

import pytest

from pando_cli.doctor.disk import (
    Room,
    disk_free,
    home_disk,
    local_root,
    open_storage,
    storage_disk,
    storage_writable,
)
from pando_cli.doctor.finding import Finding, Status
from pando_shared.storage import Storage


@pytest.mark.parametrize(
    ("free", "status"),
    [(100, Status.OK), (99, Status.WARN), (20, Status.WARN), (19, Status.FAIL), (0, Status.FAIL)],
)
def test_free_room(tmp_path: Path, free: int, status: Status) -> None:
    assert disk_free("disk", tmp_path, Room(free, 1000)).status is status


@pytest.mark.parametrize(
    ("inodes", "status"), [(500, Status.OK), (99, Status.WARN), (19, Status.FAIL)]
)
def test_inodes_run_out_too(tmp_path: Path, inodes: int, status: Status) -> None:
    found = disk_free("disk", tmp_path, Room(900, 1000, inodes, 1000))
    assert found.status is status
    assert ("of its inodes" in found.found) is (status is not Status.OK)


def test_a_disk_that_makes_inodes_as_needed(tmp_path: Path) -> None:
    assert disk_free("disk", tmp_path, Room(900, 1000, 0, 0)).status is Status.OK


def test_a_home_that_is_not_there_yet_has_the_disk_it_will_lie_on(tmp_path: Path) -> None:
    assert "GiB" in home_disk(tmp_path / "not" / "yet").found


def test_an_object_store_is_no_disk() -> None:
    storage = Storage("memory://bucket")
    assert local_root(storage) is None
    assert storage_disk(None).status is Status.SKIPPED


def test_storage_that_takes_writes_is_left_as_it_was(storage: Storage, tmp_path: Path) -> None:
    storage.write("files/a", b"kept")
    before = sorted(tmp_path.rglob("*"))
    assert storage_writable(storage).status is Status.OK
    assert sorted(tmp_path.rglob("*")) == before
    assert local_root(storage) == tmp_path / "storage"


def test_an_object_store_takes_writes() -> None:
    storage = Storage("memory://doctor-bucket")
    assert storage_writable(storage).status is Status.OK
    assert storage.walk("x") == []


def test_storage_that_is_not_there_yet_is_not_made(storage: Storage, tmp_path: Path) -> None:
    assert storage_writable(storage).status is Status.SKIPPED
    assert list(tmp_path.iterdir()) == []


def test_storage_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("no folder")
    found = storage_writable(Storage(f"file://{tmp_path}/storage"))
    assert found.status is Status.FAIL
    assert str(tmp_path / "storage") in found.found


def test_storage_that_refuses(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("files/a", b"kept")

    def refuse(path: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write", refuse)
    found = storage_writable(storage)
    assert found.status is Status.FAIL
    assert "No space left on device" in found.found


def test_an_object_stores_error_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("memory://bucket")

    def refuse(path: str, content: bytes) -> None:
        raise RuntimeError("access key AKIA-geheim is unknown")

    monkeypatch.setattr(storage, "write", refuse)
    found = storage_writable(storage)
    assert found.status is Status.FAIL
    assert "RuntimeError" in found.found
    assert "geheim" not in repr(found)


def test_storage_that_gives_back_something_else(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write("files/a", b"kept")
    monkeypatch.setattr(storage, "read", lambda path: b"other")
    assert storage_writable(storage).status is Status.FAIL


def test_an_unknown_kind_of_storage() -> None:
    found = open_storage("nosuch://bucket")
    assert isinstance(found, Finding)
    assert found.status is Status.FAIL
    assert "nosuch" in found.found
