"""Room on the disks of home and storage, and whether storage takes what is written to it."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.rendering import human_bytes
from pando_shared.storage import Storage

STORAGE = "storage"
#: Shares of the disk that are free.
WARN_FREE, FAIL_FREE = 0.10, 0.02


@dataclass(frozen=True, slots=True)
class Room:
    """Every file and folder takes an inode; `total_inodes` 0: this disk makes them as needed."""

    free_bytes: int
    total_bytes: int
    free_inodes: int = 0
    total_inodes: int = 0


def room_at(path: Path) -> Room:
    """Of the disk on which `path` lies, or would, for a user who is not root."""
    place = nearest(path)
    usage, inodes = shutil.disk_usage(place), os.statvfs(place)
    return Room(usage.free, usage.total, inodes.f_favail, inodes.f_files)


def nearest(path: Path) -> Path:
    """`path`, else the nearest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def disk_free(name: str, path: Path, room: Room) -> Finding:
    share = room.free_bytes / room.total_bytes if room.total_bytes else 0.0
    found = (
        f"{human_bytes(room.free_bytes)} of {human_bytes(room.total_bytes)} free "
        f"({100 * share:.0f} %) at {path}"
    )
    mend = "Delete what is not needed (`pando files`, old logs), or move it to a larger disk."
    inodes = room.free_inodes / room.total_inodes if room.total_inodes else 1.0
    if inodes < min(share, WARN_FREE):
        share = inodes
        found += (
            f", but {100 * inodes:.0f} % of its inodes, which every file and folder takes one of"
        )
    if share < FAIL_FREE:
        return fail(name, found, mend)
    return warn(name, found, mend) if share < WARN_FREE else ok(name, found)


def open_storage(url: str) -> Storage | Finding:
    """The storage, or the finding that there is no such kind. Touches nothing yet."""
    try:
        return Storage(url)
    except (ImportError, ValueError) as error:
        return fail(
            STORAGE,
            f"PANDO_STORAGE_URL: {error}",
            "Correct it, or install what fsspec needs for such storage (s3fs, gcsfs, ...).",
        )


def local_root(storage: Storage) -> Path | None:
    """The folder that storage is; None: an object store."""
    inside = storage.local_path("x")
    return None if inside is None else inside.parent


def home_disk(home: Path) -> Finding:
    return disk_free("disk of the home", home, room_at(home))


def storage_disk(root: Path | None) -> Finding:
    """`root`: as `local_root` tells."""
    name = "disk of the storage"
    if root is None:
        return skipped(name, "storage is no disk of this machine")
    return disk_free(name, root, room_at(root))


def storage_writable(storage: Storage) -> Finding:
    """Writes (and syncs), reads back and removes a small file; makes no folder."""
    root = local_root(storage)
    if root is not None and not root.exists():
        return skipped(STORAGE, f"{root} is not there yet; the first `pando up` makes it")
    where = "the object store" if root is None else str(root)
    path, content = f"doctor-{secrets.token_hex(8)}", secrets.token_bytes(64)
    try:
        storage.write(path, content)
        try:
            back = storage.read(path)
        finally:
            storage.delete(path)
    except Exception as error:
        # Each kind of object store has errors of its own, whose texts may quote credentials.
        told = error.strerror if isinstance(error, OSError) and root is not None else None
        return fail(
            STORAGE,
            f"cannot write to {where}: {told or type(error).__name__}",
            "Let the user who runs the stack write there, and mend what the error says.",
        )
    if back != content:
        return fail(STORAGE, f"{where} gives back other bytes than were written", "Check the disk.")
    return ok(STORAGE, f"{where} takes and gives back what is written")
