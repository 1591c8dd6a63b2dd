"""The second half of a reduction over dY: its parts are summed, always in the same order."""

import triton
import triton.language as tl

from pando_kernels.triton.tables import (
    GRAD_B,
    SCALE,
    address,
    first_place,
    member,
    number,
    output_tile,
    pointer,
    tile,
)


@triton.jit(do_not_specialize=["tokens"])
def sum_ds_kernel(
    ds, ds_parts, tokens, output_first, tiles, seg_start, seg_slot, table, numbers,
    ROWS: tl.constexpr, RB: tl.constexpr, UP_TO: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (tile, member): dS = s · the sum over the member's tiles of N, zero without adapter.

    Leaves members of a rank above UP_TO alone. ds_parts [tiles of N, T, RB].
    """
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    g = tl.program_id(1)
    rank = 0
    factor = 0.0
    if slot >= 0:
        rank = member(table, slot, g, G, 0)
        factor = number(numbers, slot, SCALE)
    if rank > UP_TO:
        return
    i = tl.arange(0, RB)
    acc = tl.zeros((ROWS, RB), tl.float32)
    if rank > 0:
        for part in tl.range(tl.load(output_first + g), tl.load(output_first + g + 1)):
            at = ds_parts + (tl.cast(part, tl.int64) * tokens + rows)[:, None] * RB + i[None, :]
            acc += tl.load(at, mask=live[:, None], other=0.0)
    acc = tl.where((i < rank)[None, :], acc * factor, 0.0)
    at = ds + rows[:, None] * (G * R) + g * R
    for first in tl.static_range(0, R, RB):
        value = acc if first == 0 else tl.zeros_like(acc)
        tl.store(at + (first + i)[None, :], value.to(ds.dtype.element_ty), mask=live[:, None])


@triton.jit(do_not_specialize=["segments"])
def sum_db_kernel(
    db_parts, N, segments, outputs, seg_slot, seg_chunk, table, numbers,
    SPAN: tl.constexpr, BN: tl.constexpr, RB: tl.constexpr, WRITTEN: tl.constexpr,
    ALIGNED: tl.constexpr, ABOVE: tl.constexpr, UP_TO: tl.constexpr,
    G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (slot, tile of a member's columns, block of RB of its rank): grad_B += the parts.

    Serves members whose rank is in (ABOVE, UP_TO]. db_parts [spans, N, UP_TO], written in blocks
    of WRITTEN columns as far as the rank reaches.
    """
    slot = tl.program_id(0)
    g, n, b_rows, exists = output_tile(outputs, tl.program_id(1), BN, ALIGNED)
    rank = member(table, slot, g, G, 0)
    i = tl.program_id(2) * RB + tl.arange(0, RB)
    if (rank <= ABOVE) | (rank > UP_TO):
        return
    inside = exists[:, None] & (i < rank)[None, :]
    # Blocks are written whole; the compiler sees that they may be read in wide pieces.
    written = i < (rank + WRITTEN - 1) // WRITTEN * WRITTEN
    grad = pointer(address(table, slot, g, G, GRAD_B), tl.float32)
    grad += b_rows.to(tl.int64)[:, None] * rank + i[None, :]
    acc = tl.zeros((BN, RB), tl.float32)
    for segment in tl.range(0, segments):
        if tl.load(seg_slot + segment) == slot:
            first, count = first_place(seg_chunk, segment, SPAN)
            for place in tl.range(first, first + count):
                at = db_parts + (tl.cast(place, tl.int64) * N + n)[:, None] * UP_TO + i[None, :]
                acc += tl.load(at, mask=exists[:, None] & written[None, :], other=0.0)
    tl.store(grad, acc + tl.load(grad, mask=inside, other=0.0), mask=inside)
