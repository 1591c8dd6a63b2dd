"""Products of tokens with the rows of the experts they visit: one grouped product, no padding."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits
from pando_kernels.triton.arguments import readable
from pando_kernels.triton.configs import config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.meft_tiles import expert_tiles, tile_visits


@triton.jit
def meft_lookup_kernel(
    x, table, out, tiles, order, stride, d, c,
    PROBES: tl.constexpr, ROWS: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
    EVEN: tl.constexpr,
):  # fmt: skip
    """Program (tile of visits, BC of an expert's rows). EVEN: BK divides d."""
    block = tl.load(tiles + tl.program_id(0) * 3).to(tl.int64)
    if block < 0:
        return
    visits, tokens, live = tile_visits(tiles, order, PROBES, ROWS)
    n = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = n < c
    k = tl.arange(0, BK)
    x_rows = x + tokens * stride
    table_rows = table + (block * c + n) * d
    acc = tl.zeros((ROWS, BC), tl.float32)
    for first in tl.range(0, d, BK):
        mask = live[:, None] if EVEN else live[:, None] & (first + k < d)[None, :]
        left = tl.load(x_rows[:, None] + (first + k)[None, :], mask=mask, other=0.0)
        mask = inside[None, :] if EVEN else inside[None, :] & (first + k < d)[:, None]
        right = tl.load(table_rows[None, :] + (first + k)[:, None], mask=mask, other=0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    at = out + visits[:, None] * c + n[None, :]
    tl.store(at, acc, mask=live[:, None] & inside[None, :])


def lookup(x: Tensor, blocks: Blocks, visits: Visits, out: Tensor) -> None:
    """See `ExpertOps.lookup`. Rows and table of one type, `out` in fp32 and contiguous."""
    x, c, d = readable(x), blocks.table.shape[1], x.shape[1]
    chosen = config("meft_lookup", d, x.dtype, x.device)
    columns = max(16, min(chosen.columns, power_of_two(c)))
    tiles = expert_tiles(visits, blocks, chosen.rows)
    launch(
        meft_lookup_kernel,
        (tiles.shape[0], -(-c // columns)),
        chosen,
        x=x,
        table=blocks.table,
        out=out,
        tiles=tiles,
        order=visits.order,
        stride=x.stride(0),
        d=d,
        c=c,
        PROBES=visits.probes,
        ROWS=chosen.rows,
        BC=columns,
        BK=chosen.block,
        EVEN=d % chosen.block == 0,
    )
