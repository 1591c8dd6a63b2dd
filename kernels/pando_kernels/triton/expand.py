"""Y += S Bᵀ: each member's columns of S to its columns of Y."""

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.arguments import of_slots, of_tiles
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.outputs import output_tiles
from pando_kernels.triton.sums import expanded
from pando_kernels.triton.tables import member, output_tile, tile


@triton.jit
def expand_kernel(
    y, s, stride, outputs, tiles, seg_start, seg_slot, table, numbers,
    ROWS: tl.constexpr, BN: tl.constexpr, RB: tl.constexpr, ALIGNED: tl.constexpr,
    G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (tile, tile of a member's columns)."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    if slot < 0:
        return
    g, n, b_rows, exists = output_tile(outputs, tl.program_id(1), BN, ALIGNED)
    rank = member(table, slot, g, G, 0)
    if rank == 0:
        return
    acc = expanded(s, rows, live, table, slot, g, rank, b_rows, exists, ROWS, BN, RB, G, R)
    at = y + rows[:, None] * stride + n[None, :]
    inside = live[:, None] & exists[None, :]
    acc += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    tl.store(at, acc.to(y.dtype.element_ty), mask=inside)


def expand(s: Tensor, y: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Adds to Y [T, N]."""
    chosen = config("expand", sum(group.widths), y.dtype, y.device)
    outputs = output_tiles(group.widths, chosen.block, y.device)
    launch(
        expand_kernel,
        (layout.tables.tiles.shape[0], outputs.count),
        chosen,
        y=y,
        s=s,
        stride=y.stride(0),
        outputs=outputs.tiles,
        BN=chosen.block,
        RB=min(chosen.columns, group.rank),
        ALIGNED=outputs.aligned,
        **of_tiles(layout),
        **of_slots(group),
    )
