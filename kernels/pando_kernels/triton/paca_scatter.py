"""dX[:, columns] += drop(dS) for PaCA, member after member, for they may share columns."""

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.arguments import of_dropout, of_slots, of_tiles
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.philox import keep_columns
from pando_kernels.triton.tables import (
    INVERSE,
    PACA,
    THRESHOLD,
    A,
    address,
    member,
    number,
    pointer,
    tile,
)


@triton.jit(do_not_specialize=["site"])
def paca_scatter_kernel(
    ds, dx, stride, tiles, seg_start, seg_slot, table, numbers, sequence, position, site,
    ROWS: tl.constexpr, G: tl.constexpr, R: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """Program (tile). A member's columns are distinct, so only members wait for each other."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    if slot < 0:
        return
    i = tl.arange(0, R)
    for g in tl.static_range(G):
        rank = member(table, slot, g, G, PACA)
        if rank > 0:
            columns = pointer(address(table, slot, g, G, A), tl.int64)
            columns = tl.load(columns + i, mask=i < rank, other=0)
            inside = live[:, None] & (i < rank)[None, :]
            at = ds + rows[:, None] * (G * R) + (g * R + i)[None, :]
            value = tl.load(at, mask=inside, other=0.0).to(tl.float32)
            if DROPOUT:
                key = tl.load(sequence + rows, mask=live, other=0)
                place = tl.load(position + rows, mask=live, other=0)
                threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
                keep = keep_columns(key, place, columns, site, threshold)
                value = tl.where(keep, value * number(numbers, slot, INVERSE), 0.0)
            at = dx + rows[:, None] * stride + columns[None, :]
            value += tl.load(at, mask=inside, other=0.0).to(tl.float32)
            tl.store(at, value.to(dx.dtype.element_ty), mask=inside)
        # What one thread wrote another reads for the next member.
        tl.debug_barrier()


def paca_scatter(ds: Tensor, dx: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Adds dS [T, C] to dX [T, K] where the adapter is a PaCA."""
    launch(
        paca_scatter_kernel,
        (layout.tables.tiles.shape[0],),
        config("paca_scatter", group.rank, dx.dtype, dx.device),
        ds=ds,
        dx=dx,
        stride=dx.stride(0),
        **of_tiles(layout),
        **of_slots(group),
        **of_dropout(group, layout),
    )
