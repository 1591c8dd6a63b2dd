"""How many heaps the C library keeps for this process's threads."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: glibc's `M_ARENA_MAX`, of malloc.h.
_ARENA_MAX = -8
_HEAPS = 2


def share_heaps() -> None:
    """Have all threads share two; to be called before any is started.

    glibc gives each thread one of up to eight a processor. What one thread frees there, another
    does not use again, so that of some forty threads the process grows for hours. Python's threads
    take turns anyway, and hardly wait for a heap. Where there is no such library, nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _HEAPS)
