"""Leavings of killed writers go after a day; what is written, or still may be, stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pando_shared.storage import Storage
from pando_shared.unfinished_writes import UNFINISHED_SECONDS, clear_unfinished

_KILLED = """
import os, sys
from pathlib import Path
from pando_shared.storage import Storage

storage = Storage(sys.argv[1])
storage.write("jobs/ftjob-1/job.json", b"{}")
if sys.argv[2] == "a file":
    with storage.writing("files/file-1/content") as stream:
        stream.write(b"half of it")
        stream.flush()
        os.kill(os.getpid(), 9)
folder = Path(sys.argv[3])
(folder / "deep").mkdir(parents=True)
(folder / "deep" / "weights").write_bytes(b"1" * 100)
import pando_shared.storage as module
if sys.argv[2] == "a folder":
    module._sync_files = lambda _: os.kill(os.getpid(), 9)
else:
    storage.upload_folder(folder, "jobs/ftjob-1/export")
    module.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), 9)
storage.upload_folder(folder, "jobs/ftjob-1/export")
"""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/storage")


def left(storage: Storage) -> list[str]:
    root = Path(storage.root)
    return [str(path.relative_to(root)) for path in root.rglob("*.partial")]


def later(seconds: float) -> float:
    return time.time() + seconds


@pytest.mark.parametrize("what", ["a file", "a folder", "a folder that was replaced"])
def test_what_a_killed_process_left_is_deleted_after_a_day(
    storage: Storage, tmp_path: Path, what: str
) -> None:
    command = [sys.executable, "-c", _KILLED, f"file://{storage.root}", what, str(tmp_path / "own")]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(left(storage)) == 1
    whole = storage.walk("jobs")
    assert clear_unfinished(storage, later(UNFINISHED_SECONDS - 60)) == 0
    assert len(left(storage)) == 1
    assert clear_unfinished(storage, later(UNFINISHED_SECONDS + 60)) == 1
    assert left(storage) == []
    assert not Path(storage.root, "files", "file-1").exists()
    assert storage.walk("jobs") == whole
    assert storage.read("jobs/ftjob-1/job.json") == b"{}"


def test_a_copy_of_something_old_is_not_old(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights").write_bytes(b"1")
    for path in (source / "weights", source):
        os.utime(path, (0, 0))
    staging = Path(storage.root, "jobs", "ftjob-1", "export.0123abcd.partial")
    shutil.copytree(source, staging)
    assert staging.stat().st_mtime == 0
    assert clear_unfinished(storage, later(60)) == 0
    assert staging.exists()


def test_a_folder_is_as_young_as_the_youngest_in_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = Path(storage.root, "jobs", "ftjob-1", "export.0123abcd.partial")
    staging.mkdir(parents=True)
    (staging / "weights").write_bytes(b"1")
    old = staging.stat().st_ctime
    (staging / "weights").chmod(0o600)
    young = (staging / "weights").stat().st_ctime
    assert clear_unfinished(storage, old + UNFINISHED_SECONDS) == 0
    assert clear_unfinished(storage, young + UNFINISHED_SECONDS + 1) == 1


def test_an_object_store_has_none() -> None:
    assert clear_unfinished(Storage("memory://unfinished"), later(1e9)) == 0


def test_a_storage_that_is_not_there_yet_has_none(tmp_path: Path) -> None:
    assert clear_unfinished(Storage(f"file://{tmp_path}/none"), later(1e9)) == 0
