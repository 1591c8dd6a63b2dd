"""Storage writes whole files or none, and never leaves its root."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pando_shared.errors import NotFound
from pando_shared.storage import Storage


def files_below(folder: str) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()
    )


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write("jobs/1/job.json", b"one")
    storage.write("jobs/1/job.json", b"two")
    assert storage.read("jobs/1/job.json") == b"two"
    assert storage.exists("jobs/1/job.json")
    assert storage.size("jobs/1/job.json") == 3
    assert storage.names("jobs") == ["1"]
    assert storage.names("nothing") == []
    storage.delete("jobs/1")
    storage.delete("jobs/1")
    assert not storage.exists("jobs/1/job.json")


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for attempt in (storage.read, storage.size):
        with pytest.raises(NotFound):
            attempt("jobs/none")
    with pytest.raises(NotFound):
        storage.download_folder("jobs/none", Path("unused"))


@pytest.mark.parametrize("path", ["../secret", "jobs/../../secret", "/etc/passwd", "", "."])
def test_no_path_leaves_the_root(storage: Storage, path: str) -> None:
    with pytest.raises(NotFound):
        storage.read(path)
    with pytest.raises(NotFound):
        storage.write(path, b"x")


def test_a_writer_that_fails_leaves_the_old_file_and_no_debris(storage: Storage) -> None:
    storage.write("a/file", b"old")

    def dies_half_way() -> None:
        with storage.writing("a/file") as stream:
            stream.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        dies_half_way()
    assert storage.read("a/file") == b"old"
    assert files_below(storage.root) == ["a/file"]


def test_a_process_killed_in_mid_write_leaves_the_old_file(storage: Storage) -> None:
    storage.write("a/file", b"old")
    program = (
        "import os, sys; from pando_shared.storage import Storage\n"
        "with Storage(sys.argv[1]).writing('a/file') as stream:\n"
        "    stream.write(b'half of the new one'); stream.flush(); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, storage.root], check=False)
    assert killed.returncode == 9
    assert storage.read("a/file") == b"old"
    # What the dead process left is nobody's file.
    assert storage.names("a") == ["file"]
    storage.write("a/file", b"new")
    assert storage.read("a/file") == b"new"


def test_a_folder_appears_whole_and_replaces_the_old_one(storage: Storage, tmp_path: Path) -> None:
    local = tmp_path / "local"
    (local / "deep").mkdir(parents=True)
    (local / "deep" / "one").write_bytes(b"1")
    storage.upload_folder(local, "jobs/1/export")
    (local / "deep" / "one").unlink()
    (local / "two").write_bytes(b"2")
    storage.upload_folder(local, "jobs/1/export")
    assert files_below(storage.root) == ["jobs/1/export/two"]
    storage.download_folder("jobs/1/export", tmp_path / "copy")
    assert files_below(str(tmp_path / "copy")) == ["two"]


def test_an_object_store_publishes_on_close(tmp_path: Path) -> None:
    storage = Storage("memory://bucket/root")
    storage.write("a/file", b"old")

    def dies_half_way() -> None:
        with storage.writing("a/file") as stream:
            stream.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        dies_half_way()
    assert storage.read("a/file") == b"old"
    (tmp_path / "one").write_bytes(b"1")
    storage.upload_folder(tmp_path, "folder")
    storage.download_folder("folder", tmp_path / "copy")
    assert (tmp_path / "copy" / "one").read_bytes() == b"1"
    assert storage.names("folder") == ["one"]
    assert storage.local_path("a/file") is None


@pytest.mark.parametrize("root", ["file://{folder}", "memory://overlap"])
def test_writes_that_overlap_all_hold(root: str, tmp_path: Path) -> None:
    """As those of two threads do."""
    storage = Storage(root.format(folder=tmp_path))
    with storage.writing("a/one") as stream:
        stream.write(b"1")
        storage.write("a/two", b"2")
    assert storage.read("a/one") == b"1"
    assert storage.read("a/two") == b"2"


def test_writers_of_an_object_store_end_each_for_itself() -> None:
    """One that ends must neither publish nor drop what another is at."""
    storage = Storage("memory://side-by-side")
    with storage.writing("one") as first:
        with storage.writing("two") as second:
            first.write(b"half")
            second.write(b"2")
        assert storage.read("two") == b"2"
        assert not storage.exists("one")
        first.write(b" and half")
    assert storage.read("one") == b"half and half"


def test_many_may_delete_one_folder_at_once(storage: Storage) -> None:
    for number in range(200):
        storage.write(f"a/folder/{number}", b"x")
    together = threading.Barrier(4)

    def delete() -> None:
        together.wait(timeout=10)
        storage.delete("a/folder")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(delete) for _ in range(4)]:
            done.result()
    assert files_below(storage.root) == []
    assert storage.names("a") == []


def test_a_local_root_gives_its_own_paths(storage: Storage) -> None:
    storage.write("a/file", b"1")
    path = storage.local_path("a/file")
    assert path is not None
    assert path.read_bytes() == b"1"


def test_what_lies_in_an_unfinished_folder_is_not_listed(storage: Storage) -> None:
    storage.write("jobs/one/export/weights", b"1")
    storage.write("jobs/one/export.0123abcd.partial/weights", b"1")
    assert storage.walk("jobs") == ["one/export/weights"]
    assert storage.names("jobs/one") == ["export"]
