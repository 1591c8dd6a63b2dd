"""A GPU of which the process may take only some."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from measuring import release

#: What the driver and libraries take of a GPU for a process; more than that is other processes'.
_MOST_OUTSIDE = 1 << 30


def outside_bytes() -> int:
    """Bytes of the current GPU that the process holds beside torch's allocator."""
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()
    return int(min(max(0, outside), _MOST_OUTSIDE))


@contextmanager
def limited(limit: int | None) -> Iterator[None]:
    """Let the process take so many bytes of the current GPU, the driver's among them; None: all."""
    if limit is None:
        yield
        return
    release(torch.device("cuda"))
    share = (limit - outside_bytes()) / torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
