"""dX += drop(dS A) for LoRA: the members' parts are summed before X is dropped and written."""

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.arguments import of_dropout, of_slots, of_tiles
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.philox import keep_tile
from pando_kernels.triton.tables import (
    INVERSE,
    LORA,
    THRESHOLD,
    A,
    address,
    member,
    number,
    pointer,
    tile,
)


@triton.jit(do_not_specialize=["site"])
def unshrink_kernel(
    ds, dx, stride, K, tiles, seg_start, seg_slot, table, numbers, sequence, position, site,
    ROWS: tl.constexpr, BK: tl.constexpr, RB: tl.constexpr,
    G: tl.constexpr, R: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """Program (tile, tile of K)."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    if slot < 0:
        return
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    total = 0
    acc = tl.zeros((ROWS, BK), tl.float32)
    for g in tl.static_range(G):
        rank = member(table, slot, g, G, LORA)
        a = pointer(address(table, slot, g, G, A), ds.dtype.element_ty)
        for first in tl.range(0, rank, RB, num_stages=1):
            i = first + tl.arange(0, RB)
            at = ds + rows[:, None] * (G * R) + (g * R + i)[None, :]
            columns = tl.load(at, mask=live[:, None], other=0.0)
            at = a + i.to(tl.int64)[:, None] * K + k[None, :]
            inside = (i < rank)[:, None] & (k < K)[None, :]
            acc = tl.dot(columns, tl.load(at, mask=inside, other=0.0), acc, input_precision="ieee")
        total += rank
    if total == 0:
        return
    if DROPOUT:
        threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
        if threshold > 0:
            key = tl.load(sequence + rows, mask=live, other=0)
            place = tl.load(position + rows, mask=live, other=0)
            keep = keep_tile(key, place, tl.program_id(1) * BK, site, threshold, ROWS, BK)
            acc = tl.where(keep, acc * number(numbers, slot, INVERSE), 0.0)
    at = dx + rows[:, None] * stride + k[None, :]
    inside = live[:, None] & (k < K)[None, :]
    acc += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    tl.store(at, acc.to(dx.dtype.element_ty), mask=inside)


def unshrink(ds: Tensor, dx: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Adds to dX [T, K] where the adapter is a LoRA."""
    k = dx.shape[1]
    chosen = config("unshrink", k, dx.dtype, dx.device)
    launch(
        unshrink_kernel,
        (layout.tables.tiles.shape[0], -(-k // chosen.block)),
        chosen,
        ds=ds,
        dx=dx,
        stride=dx.stride(0),
        K=k,
        BK=chosen.block,
        RB=min(chosen.columns, group.rank),
        **of_tiles(layout),
        **of_slots(group),
        **of_dropout(group, layout),
    )
