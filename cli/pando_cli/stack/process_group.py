"""Process groups: every service leads one, so that none of its children can be left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress

import psutil

#: After SIGKILL a process is gone within moments, unless it hangs in the kernel.
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.05


def any_alive(groups: Collection[int]) -> bool:
    """Whether these groups have living members. Zombies are dead: maybe nobody reaps them."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def kill_groups(groups: Collection[int]) -> None:
    """SIGKILL to every member, at once."""
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def stop_groups(groups: Collection[int], patience: float) -> None:
    """SIGTERM to the groups' leaders, SIGKILL to everyone who lives `patience` seconds later.

    Only the leader is asked: it knows how its children stop.
    """
    for group in groups:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    _wait_gone(groups, patience)
    kill_groups(groups)
    _wait_gone(groups, _KILL_SECONDS)


def _wait_gone(groups: Collection[int], patience: float) -> None:
    deadline = time.monotonic() + patience
    while any_alive(groups) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
