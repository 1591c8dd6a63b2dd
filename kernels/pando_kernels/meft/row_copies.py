"""Moving single rows of a sparse memory between the host and the device, on the device's word.

Which rows a microbatch needs is known on the device alone. A GPU reads and writes pinned memory of
the host by itself, so nothing waits for the host to learn of it.
"""

from __future__ import annotations

from enum import IntEnum

from torch import Tensor

from pando_kernels.backend import runs_triton
from pando_kernels.meft.expert_ops import Blocks


class Fetch(IntEnum):
    """What becomes of a row at hand."""

    KEEP = 0
    COPY = 1
    CLEAR = 2


class Push(IntEnum):
    """What becomes of a row of the host's gradient."""

    KEEP = 0
    WRITE = 1
    ADD = 2


def fetch_rows(source: Tensor, orders: Tensor, blocks: Blocks) -> None:
    """Bring rows of source [E, c, d] to their blocks; orders int8 [E, c] of `Fetch`.

    Experts that have no block are passed over. On a GPU the source is pinned, and this returns
    at once.
    """
    if runs_triton(blocks.table):
        from pando_kernels.triton.meft_rows import fetch_rows as compiled

        compiled(source, orders, blocks)
        return
    for e, block in _placed(blocks, source.shape[0]):
        copied, cleared = orders[e] == Fetch.COPY, orders[e] == Fetch.CLEAR
        blocks.table[block][copied] = source[e][copied].to(blocks.table.dtype)
        blocks.table[block][cleared] = 0


def push_rows(blocks: Blocks, orders: Tensor, target: Tensor) -> None:
    """Write or add blocks' rows to target [E, c, d]; orders int8 [E, c] of `Push`. See above."""
    if runs_triton(blocks.table):
        from pando_kernels.triton.meft_rows import push_rows as compiled

        compiled(blocks, orders, target)
        return
    for e, block in _placed(blocks, target.shape[0]):
        written, added = orders[e] == Push.WRITE, orders[e] == Push.ADD
        target[e][written] = blocks.table[block][written].to(target.dtype)
        target[e][added] += blocks.table[block][added]


def _placed(blocks: Blocks, experts: int) -> list[tuple[int, int]]:
    where = range(experts) if blocks.where is None else blocks.where.tolist()
    return [(e, block) for e, block in enumerate(where) if block >= 0]
