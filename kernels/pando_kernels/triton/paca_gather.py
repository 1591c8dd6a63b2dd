"""S = s · drop(X)[:, columns] for PaCA, which has no down-projection."""

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
    SCALE,
    THRESHOLD,
    A,
    address,
    member,
    number,
    pointer,
    tile,
)


@triton.jit(do_not_specialize=["site"])
def paca_gather_kernel(
    x, s, stride, tiles, seg_start, seg_slot, table, numbers, sequence, position, site,
    ROWS: tl.constexpr, G: tl.constexpr, R: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """Program (tile, member)."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    if slot < 0:
        return
    g = tl.program_id(1)
    rank = member(table, slot, g, G, PACA)
    if rank == 0:
        return
    i = tl.arange(0, R)
    columns = pointer(address(table, slot, g, G, A), tl.int64)
    columns = tl.load(columns + i, mask=i < rank, other=0)
    inside = live[:, None] & (i < rank)[None, :]
    found = tl.load(x + rows[:, None] * stride + columns[None, :], mask=inside, other=0.0)
    factor = number(numbers, slot, SCALE)
    if DROPOUT:
        key = tl.load(sequence + rows, mask=live, other=0)
        place = tl.load(position + rows, mask=live, other=0)
        threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
        keep = keep_columns(key, place, columns, site, threshold)
        found = tl.where(keep, found, tl.zeros_like(found))
        factor *= number(numbers, slot, INVERSE)
    value = found.to(tl.float32) * factor
    at = s + rows[:, None] * (G * R) + (g * R + i)[None, :]
    tl.store(at, value.to(s.dtype.element_ty), mask=live[:, None])


def paca_gather(x: Tensor, s: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Writes S [T, C] where the adapter is a PaCA, and nothing else."""
    launch(
        paca_gather_kernel,
        (layout.tables.tiles.shape[0], len(group.widths)),
        config("paca_gather", group.rank, x.dtype, x.device),
        x=x,
        s=s,
        stride=x.stride(0),
        **of_tiles(layout),
        **of_slots(group),
        **of_dropout(group, layout),
    )
