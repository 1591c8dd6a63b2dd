"""Tiles of visits to one expert each, found on the device: the host never learns how many."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch

#: Tiles that are written at once.
_WRITTEN = 128


@triton.jit(do_not_specialize=["count"])
def meft_tiles_kernel(
    starts, where, tiles, experts, count,
    ROWS: tl.constexpr, EB: tl.constexpr, PLACED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (expert): its tiles, behind those of the experts before; the last ends the list."""
    e = tl.program_id(0)
    each = tl.arange(0, EB)
    exists = each < experts
    start = tl.load(starts + each, mask=exists, other=0)
    needed = (tl.load(starts + each + 1, mask=exists, other=0) - start + ROWS - 1) // ROWS
    if PLACED:
        at_hand = tl.load(where + each, mask=exists, other=-1) >= 0
        needed = tl.where(at_hand, needed, 0)
        block = tl.load(where + e)
    else:
        block = e
    first = tl.sum(tl.where(each < e, needed, 0), 0)
    end = first + tl.sum(tl.where(each == e, needed, 0), 0)
    start = tl.load(starts + e)
    stop = tl.load(starts + e + 1)
    for i in tl.range(first, end, BLOCK):
        place = i + tl.arange(0, BLOCK)
        at = tiles + place * 3
        tl.store(at, tl.full((BLOCK,), 0, tl.int32) + block, mask=place < end)
        tl.store(at + 1, (start + (place - first) * ROWS).to(tl.int32), mask=place < end)
        tl.store(at + 2, tl.full((BLOCK,), 0, tl.int32) + stop.to(tl.int32), mask=place < end)
    if e == experts - 1:
        for i in tl.range(end, count, BLOCK):
            place = i + tl.arange(0, BLOCK)
            tl.store(tiles + place * 3, tl.full((BLOCK,), -1, tl.int32), mask=place < count)


@triton.jit
def tile_visits(tiles, order, PROBES: tl.constexpr, ROWS: tl.constexpr):
    """(visits int64 [ROWS], their tokens, which exist) of the tile of this program's first axis."""
    start = tl.load(tiles + tl.program_id(0) * 3 + 1)
    rows = start + tl.arange(0, ROWS)
    live = rows < tl.load(tiles + tl.program_id(0) * 3 + 2)
    visits = tl.load(order + rows, mask=live, other=0)
    return visits, visits // PROBES, live


def placed(blocks: Blocks, other: Tensor) -> dict[str, object]:
    """Where experts' rows are, for a kernel; `other` is passed, and not read, where all are."""
    return {
        "where": other if blocks.where is None else blocks.where,
        "PLACED": blocks.where is not None,
    }


def expert_tiles(visits: Visits, blocks: Blocks, rows: int) -> Tensor:
    """int32 [n, 3]: (block, first place in `order`, the expert's end there).

    Each tile has at most `rows` visits to one expert at hand. n is what there may be at most;
    tiles beyond the last have block -1.
    """
    experts, total = visits.starts.shape[0] - 1, visits.order.shape[0]
    count = (total + min(experts, total) * (rows - 1)) // rows
    tiles = torch.empty((count, 3), dtype=torch.int32, device=visits.order.device)
    launch(
        meft_tiles_kernel,
        (experts if count else 0,),
        Config(_WRITTEN, warps=4, stages=1),
        starts=visits.starts,
        tiles=tiles,
        experts=experts,
        count=count,
        ROWS=rows,
        EB=power_of_two(experts),
        BLOCK=_WRITTEN,
        **placed(blocks, visits.starts),
    )
    return tiles
