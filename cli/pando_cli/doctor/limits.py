"""Limits of this machine's system that many processes run into."""

from __future__ import annotations

import resource
from pathlib import Path

from pando_cli.doctor.disk import Room, room_at
from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.rendering import human_bytes

SHM = Path("/dev/shm")
#: Where the semaphores are that a worker shares with its child.
WARN_SHM_BYTES, FAIL_SHM_BYTES = 64 << 20, 1 << 20
#: Every open stream of events, upload and checkpoint is a file.
WARN_FILES, FAIL_FILES = 1024, 256


def shared_memory(room: Room | None) -> Finding:
    """`room`: None where the system has no /dev/shm."""
    name = "shared memory"
    if room is None:
        return skipped(name, f"this system has no {SHM}")
    found = f"{human_bytes(room.free_bytes)} of {human_bytes(room.total_bytes)} free in {SHM}"
    mend = (
        f"Remove what is left over in {SHM}, or make it larger: "
        f"`mount -o remount,size=1G {SHM}`; in Docker `--shm-size 1g`."
    )
    if room.free_bytes < FAIL_SHM_BYTES:
        return fail(name, f"{found}: workers may not start", mend)
    return warn(name, found, mend) if room.free_bytes < WARN_SHM_BYTES else ok(name, found)


def open_files(soft: int | None) -> Finding:
    """`soft`: files a process may have open; None: not limited."""
    name = "open files"
    if soft is None:
        return ok(name, "no limit")
    found = f"a process may open {soft}"
    mend = "`ulimit -n 4096` before `pando up`, or LimitNOFILE= in its systemd unit."
    if soft < FAIL_FILES:
        return fail(name, found, mend)
    return warn(name, found, mend) if soft < WARN_FILES else ok(name, found)


def limits() -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = room_at(SHM) if SHM.is_dir() else None
    return [shared_memory(room), open_files(None if soft == resource.RLIM_INFINITY else soft)]
