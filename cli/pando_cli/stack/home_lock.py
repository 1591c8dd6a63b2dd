"""One stack a home: a file lock that lives as long as any process that could touch the data."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pando_cli.errors import StackError
from pando_cli.home import Home


@contextmanager
def hold(home: Home) -> Iterator[int]:
    """The locked file's descriptor, to be handed on to the watchdog, which outlives us.

    Raises:
        StackError: another stack holds this home.
    """
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with home.lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"a stack is already up in {home.root}",
                code="already_up",
                hint="`pando down` stops it; another one needs its own --home and --port.",
            ) from error
        yield stream.fileno()
