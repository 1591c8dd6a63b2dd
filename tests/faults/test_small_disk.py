"""Storage on a real disk that is full, or read-only."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import SmallDisk, can_mount, small_disk

from pando_shared.storage import Storage

pytestmark = pytest.mark.skipif(not can_mount(), reason="mounting a disk needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 1 << 20) as made:
        yield made


@pytest.fixture
def disk_storage(disk: SmallDisk) -> Storage:
    storage = Storage(f"file://{disk.folder}")
    storage.write("jobs/1/job.json", b"as it was")
    return storage


@pytest.mark.parametrize("bytes_", [100, 1 << 21])
def test_a_full_disk_keeps_what_it_has_and_takes_no_half(
    disk: SmallDisk, disk_storage: Storage, bytes_: int
) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left") as caught:
        disk_storage.write("jobs/1/job.json", b"x" * bytes_)
    assert caught.value.errno == errno.ENOSPC
    disk.make_room()
    assert disk_storage.read("jobs/1/job.json") == b"as it was"
    assert [file.name for file in disk.folder.rglob("*") if file.is_file()] == ["job.json"]
    disk_storage.write("jobs/1/job.json", b"as it is")
    assert disk_storage.read("jobs/1/job.json") == b"as it is"


def test_a_full_disk_publishes_no_half_folder(
    disk: SmallDisk, disk_storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "tensors").write_bytes(b"x" * (1 << 21))
    with pytest.raises(OSError, match="No space left"):
        disk_storage.upload_folder(tmp_path / "export", "jobs/1/export")
    assert not disk_storage.exists("jobs/1/export")
    assert [file.name for file in disk.folder.rglob("*") if file.is_file()] == ["job.json"]


def test_a_read_only_disk_is_read_and_taken_up_again(
    disk: SmallDisk, disk_storage: Storage
) -> None:
    disk.refuse_writes()
    with pytest.raises(OSError, match="Read-only file system"):
        disk_storage.write("jobs/1/job.json", b"as it is")
    assert disk_storage.read("jobs/1/job.json") == b"as it was"
    disk.take_writes()
    disk_storage.write("jobs/1/job.json", b"as it is")
    assert disk_storage.read("jobs/1/job.json") == b"as it is"
