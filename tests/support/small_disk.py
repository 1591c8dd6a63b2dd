"""A disk of its own for a test: one that can be full, or take no writes, and be well again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: How long a disk may be busy with writes before it can be made read-only.
_PATIENCE_SECONDS = 10.0
#: Where a disk that is full holds what it held before: tmpfs counts whole pages.
_PAGE_BYTES = 4096


def can_mount() -> bool:
    """Whether this process may mount disks."""
    if os.geteuid() != 0:
        return False
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return probe.returncode == 0


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs at `folder`."""

    folder: Path
    size_bytes: int

    def fill(self) -> None:
        """No byte more fits, as when others have filled the disk."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        self._remount(f"size={max(used, _PAGE_BYTES)}")

    def make_room(self) -> None:
        self._remount(f"size={self.size_bytes}")

    def refuse_writes(self) -> None:
        """Read-only, once nobody is in the middle of a write."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._remount("ro")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def take_writes(self) -> None:
        self._remount("rw")

    def _remount(self, option: str) -> None:
        _run("mount", "-o", f"remount,{option}", str(self.folder))


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mounted on `folder` until the end. Only where `can_mount`."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder, size_bytes)
    finally:
        # Lazily: a process that is about to end may still have a file open.
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
