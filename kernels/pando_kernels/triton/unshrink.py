"""dX += drop(dS A) for LoRA: the members' parts are summed before X is dropped and written."""

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.arguments import of_dropout, of_slots, of_tiles
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.sums import dropped, unshrunk
from pando_kernels.triton.tables import tile


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
    acc, total = unshrunk(ds, rows, live, table, slot, k, K, ROWS, BK, RB, G, R)
    if total == 0:
        return
    if DROPOUT:
        first = tl.program_id(1) * BK
        acc = dropped(acc, rows, live, numbers, slot, sequence, position, first, site, ROWS, BK)
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
