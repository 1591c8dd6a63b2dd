"""Stopping a stack from another process."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from pando_cli import stack_record
from pando_cli.errors import StackError
from pando_cli.home import Home

_POLL_SECONDS = 0.1
#: After the supervisor is killed, its watchdog stops the rest; it has this long.
_LAST_SECONDS = 60.0


def shut_down(home: Home, seconds: float) -> bool:
    """Returns when the last process has gone; False if there was none.

    A supervisor that has not stopped everything within `seconds` is killed.

    Raises:
        StackError: something still runs after that, or nobody knows who the supervisor is.
    """
    if not stack_record.locked(home):
        return False
    supervisor = _supervisor(home, seconds)
    if supervisor is not None:
        _send(supervisor.pid, signal.SIGTERM)
        if _gone(home, supervisor, seconds):
            return True
        _send(supervisor.pid, signal.SIGKILL)
    if not _gone(home, supervisor, _LAST_SECONDS):
        raise StackError(
            f"processes of the stack in {home.root} do not stop",
            hint="`ps` shows them; the logs in logs/ may say what they wait for.",
        )
    return True


def _supervisor(home: Home, seconds: float) -> psutil.Process | None:
    """Who is to be told; waits for a stack that is just starting to say so.

    None: it has died, and its watchdog stops the rest.
    """
    deadline = time.monotonic() + seconds
    while stack_record.locked(home) and time.monotonic() <= deadline:
        record = stack_record.running(home)
        found = None if record is None else _holder(record.pid, home)
        if found is not None:
            return found
        time.sleep(_POLL_SECONDS)
    return None


def _holder(pid: int, home: Home) -> psutil.Process | None:
    """The process, if it is one that has this home's lock open.

    A record may be a dead stack's, and its pid anybody's by now.
    """
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if any(Path(file.path) == home.lock for file in process.open_files()):
            return process
    return None


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(home: Home, supervisor: psutil.Process | None, seconds: float) -> bool:
    """Whether both go in time: the lock, and the supervisor, which lives a moment without it."""
    deadline = time.monotonic() + seconds
    while stack_record.locked(home) or _lives(supervisor):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _lives(process: psutil.Process | None) -> bool:
    """A zombie does not: maybe nobody reaps it."""
    try:
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
