"""The part of a reduction over dY that keeps dB in registers, and dS on the way where that pays.

One pass over dY makes both: each tile of N has a part of dS, which is written in fp32 and summed
afterwards. See `reduce` for when that is cheaper than a pass of its own.
"""

import triton
import triton.language as tl

from pando_kernels.triton.tables import (
    B,
    address,
    member,
    output_tile,
    pointer,
    ranked,
    span,
)


@triton.jit(do_not_specialize=["tokens"])
def reduce_tile_kernel(
    dy, s, ds_parts, db_parts, stride, tokens, N, outputs,
    chunks, seg_start, seg_slot, seg_chunk, table, numbers,
    CHUNK: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr,
    BN: tl.constexpr, RB: tl.constexpr, ALIGNED: tl.constexpr,
    ABOVE: tl.constexpr, UP_TO: tl.constexpr, WITH_DS: tl.constexpr,
    G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (chunk, tile of a member's columns, block of RB of its rank).

    Serves members whose rank is in (ABOVE, UP_TO]. ds_parts [tiles of N, T, RB]; db_parts
    [spans, N, UP_TO].
    """
    slot, start, stop, place = span(
        chunks, seg_start, seg_slot, seg_chunk, tl.program_id(0), CHUNK, SPAN
    )
    if slot < 0:
        return
    g, n, b_rows, exists = output_tile(outputs, tl.program_id(1), BN, ALIGNED)
    rank = member(table, slot, g, G, 0)
    first = tl.program_id(2) * RB
    if (rank <= ABOVE) | (rank > UP_TO) | (first >= rank):
        return
    i = tl.arange(0, RB)
    dtype: tl.constexpr = s.dtype.element_ty
    if WITH_DS:
        b = pointer(address(table, slot, g, G, B), dtype)
        b = ranked(b, b_rows, exists, 0, rank, RB)
    db = tl.zeros((BN, RB), tl.float32)
    for row in tl.range(start, stop, ROWS):
        rows = (row + tl.arange(0, ROWS)).to(tl.int64)
        live = rows < stop
        at = dy + rows[:, None] * stride + n[None, :]
        part = tl.load(at, mask=live[:, None] & exists[None, :], other=0.0)
        at = s + rows[:, None] * (G * R) + (g * R + first + i)[None, :]
        columns = tl.load(at, mask=live[:, None], other=0.0)
        db = tl.dot(tl.trans(part), columns, db, input_precision="ieee")
        if WITH_DS:
            ds = tl.dot(part, b, input_precision="ieee")
            at = ds_parts + (tl.program_id(1).to(tl.int64) * tokens + rows)[:, None] * RB
            tl.store(at + i[None, :], ds, mask=live[:, None])
    at = db_parts + (tl.cast(place, tl.int64) * N + n)[:, None] * UP_TO + (first + i)[None, :]
    tl.store(at, db, mask=exists[:, None])
