"""What writers that were killed have left in storage, and nobody will ever read or finish."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pando_shared.storage import PARTIAL, Storage

log = logging.getLogger(__name__)

#: A writer that still lives has touched what it writes more lately than that. A large file over a
#: slow line takes hours, and clocks of a storage's server and ours may differ.
UNFINISHED_SECONDS = 24 * 3600.0


def clear_unfinished(storage: Storage, now: float) -> int:
    """Delete unfinished files and folders that have not changed for a day; returns how many.

    `now` is in seconds since 1970, by a clock of the file system. Others may do the same at the
    same time. An object store has none: what is not completed there is no file, and its own rules
    of a bucket's life discard it.
    """
    root = storage.local_root
    if root is None:
        return 0
    count = 0
    for path in list(_unfinished(root)):
        with suppress(FileNotFoundError):  # its writer, or another of us, was faster
            if now - _changed_at(path) > UNFINISHED_SECONDS:
                log.info("deleting %s: whoever wrote it was killed", path.relative_to(root))
                _delete(path, root)
                count += 1
    return count


def _unfinished(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if name.endswith(PARTIAL):
                yield Path(folder, name)
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]


def _changed_at(path: Path) -> float:
    """When it, or anything in it, last changed. Not by the time of modification, which a copy has
    from its original."""
    return max(each.stat().st_ctime for each in (path, *path.rglob("*")))


def _delete(path: Path, root: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if path.parent.parent != root:  # a thing's own folder, to which nobody else will write
        with suppress(OSError):  # there is more in it
            path.parent.rmdir()
