"""glibc tells how many heaps a process has; its threads share two."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

#: Sixteen threads allocate at once; then glibc writes its statistics to standard error.
THREADS = """
import ctypes, sys, threading
if sys.argv[1] == "share":
    from pando_api.heaps import share_heaps
    share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(16)
def allocate():
    together.wait()
    libc.malloc(ctypes.c_size_t(10000))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
"""


def heaps(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", THREADS, how], capture_output=True, text=True, check=True
    )
    return done.stderr.count("Arena ")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="needs glibc")
def test_threads_share_two() -> None:
    assert heaps("share") == 2 < heaps("own")
