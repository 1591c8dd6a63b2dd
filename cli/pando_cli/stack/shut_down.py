"""Stopping a stack from another process."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

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
    if record is not None:
        _send(record.pid, signal.SIGTERM)
        if _gone(home, seconds):
            return True
        _send(record.pid, signal.SIGKILL)
    if not _gone(home, _LAST_SECONDS):
        raise StackError(
            f"processes of the stack in {home.root} do not stop",
            hint="`ps` shows them; the logs in logs/ may say what they wait for.",
        )
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(home: Home, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while stack_record.locked(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
