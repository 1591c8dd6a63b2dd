"""Stopping a stack from another process."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

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
        StackError: something still runs after that.
    """
    if not stack_record.locked(home):
        return False
    record = stack_record.running(home)
    supervisor = None if record is None else _process(record.pid)
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


def _process(pid: int) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
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
