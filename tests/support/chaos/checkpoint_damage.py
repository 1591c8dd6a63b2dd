"""What disks do to checkpoints."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def truncate(file: Path) -> None:
    """The second half is gone, as after a crash of a disk that lied about what it had written."""
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def corrupt(file: Path) -> None:
    """Sixteen bytes in the middle are others."""
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        held = stream.read(16)
        stream.seek(file.stat().st_size // 2)
        stream.write(bytes(byte ^ 0xFF for byte in held))


def damage_newest(storage: Path, rng: random.Random, damage: Callable[[Path], None]) -> bool:
    """Spoil the newest checkpoint of some job. False: no job has one now."""
    folders = sorted(storage.glob("jobs/*/checkpoints"))
    rng.shuffle(folders)
    for folder in folders:
        with suppress(OSError):  # it has just been pruned
            names = sorted(each for each in folder.iterdir() if each.suffix != ".partial")
            if names:
                damage(names[-1] / "state.safetensors")
                return True
    return False
