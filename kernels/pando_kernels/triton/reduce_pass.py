"""dS = s · dY B in a pass of its own: for ranks whose parts would weigh more than dY."""

import triton
import triton.language as tl

from pando_kernels.triton.tables import SCALE, B, address, member, number, pointer, tile


@triton.jit
def _product(
    dy, b, live, width, length, first,
    ROWS: tl.constexpr, BN: tl.constexpr, RB: tl.constexpr,
):  # fmt: skip
    """dY [ROWS, width] times columns `first` on of B [width, length]."""
    n = tl.arange(0, BN)
    i = first + tl.arange(0, RB)
    acc = tl.zeros((ROWS, RB), tl.float32)
    for column in tl.range(0, width, BN):
        exists = column + n < width
        inside = live[:, None] & exists[None, :]
        part = tl.load(dy[:, None] + (column + n)[None, :], mask=inside, other=0.0)
        at = b + (column + n).to(tl.int64)[:, None] * length + i[None, :]
        inside = exists[:, None] & (i < length)[None, :]
        acc = tl.dot(part, tl.load(at, mask=inside, other=0.0), acc, input_precision="ieee")
    return acc


@triton.jit
def reduce_pass_kernel(
    dy, ds, stride, outputs, output_first, tiles, seg_start, seg_slot, table, numbers,
    ROWS: tl.constexpr, BN: tl.constexpr, RB: tl.constexpr, ALIGNED: tl.constexpr,
    ABOVE: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (tile, member, block of RB columns of its rank); serves ranks above ABOVE."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    if slot < 0:
        return
    g = tl.program_id(1)
    rank = member(table, slot, g, G, 0)
    if rank <= ABOVE:
        return
    entry = outputs + 4 * tl.load(output_first + g)
    column = tl.load(entry + 1)
    width = tl.load(entry + 3)
    if ALIGNED:
        column = tl.multiple_of(column, 16)
        width = tl.multiple_of(width, 16)
    first = tl.program_id(2) * RB
    acc = tl.zeros((ROWS, RB), tl.float32)
    if first < rank:
        b = pointer(address(table, slot, g, G, B), dy.dtype.element_ty)
        dy_rows = dy + rows * stride + column
        if rank % 8 == 0:
            # The compiler sees that rows are aligned.
            length = rank // 8 * 8
            acc = _product(dy_rows, b, live, width, length, first, ROWS, BN, RB)
        else:
            acc = _product(dy_rows, b, live, width, rank, first, ROWS, BN, RB)
        i = first + tl.arange(0, RB)
        acc = tl.where((i < rank)[None, :], acc * number(numbers, slot, SCALE), 0.0)
    at = ds + rows[:, None] * (G * R) + (g * R + first + tl.arange(0, RB))[None, :]
    tl.store(at, acc.to(ds.dtype.element_ty), mask=live[:, None])
