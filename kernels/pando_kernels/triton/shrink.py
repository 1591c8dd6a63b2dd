"""S = s · drop(X) Aᵀ for LoRA: one pass over X for all members of a group."""

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.arguments import of_dropout, of_slots, of_tiles
from pando_kernels.triton.configs import config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.philox import keep_tile
from pando_kernels.triton.tables import (
    INVERSE,
    SCALE,
    THRESHOLD,
    A,
    column_rows,
    number,
    pointer,
    tile,
)


@triton.jit
def _product(
    x, a, live, valid, key, place, site, threshold, K,
    ROWS: tl.constexpr, BK: tl.constexpr, RB: tl.constexpr, EVEN: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    """X [ROWS, K] times Aᵀ [K, RB]; x and a point to the first entries of their rows."""
    k = tl.arange(0, BK)
    acc = tl.zeros((ROWS, RB), tl.float32)
    for first in tl.range(0, K, BK):
        inside = live[:, None] if EVEN else live[:, None] & (first + k < K)[None, :]
        rows = tl.load(x[:, None] + (first + k)[None, :], mask=inside, other=0.0)
        if DROP:
            keep = keep_tile(key, place, first, site, threshold, ROWS, BK)
            rows = tl.where(keep, rows, tl.zeros_like(rows))
        inside = valid[None, :] if EVEN else valid[None, :] & (first + k < K)[:, None]
        columns = tl.load(a[None, :] + (first + k)[:, None], mask=inside, other=0.0)
        acc = tl.dot(rows, columns, acc, input_precision="ieee")
    return acc


@triton.jit(do_not_specialize=["site"])
def shrink_kernel(
    x, s, stride, K, tiles, seg_start, seg_slot, table, numbers, sequence, position, site,
    ROWS: tl.constexpr, BK: tl.constexpr, RB: tl.constexpr, EVEN: tl.constexpr,
    G: tl.constexpr, R: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """Program (tile, block of RB columns of S)."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    columns = tl.program_id(1) * RB + tl.arange(0, RB)
    row, address, valid = column_rows(table, slot, columns, G, R, A)
    acc = tl.zeros((ROWS, RB), tl.float32)
    if tl.max(valid.to(tl.int32), 0) > 0:
        x_rows = x + rows * stride
        a_rows = pointer(address, x.dtype.element_ty) + row.to(tl.int64) * K
        if DROPOUT:
            threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
            if threshold > 0:
                key = tl.load(sequence + rows, mask=live, other=0)
                place = tl.load(position + rows, mask=live, other=0)
                acc = _product(
                    x_rows, a_rows, live, valid, key, place, site, threshold, K,
                    ROWS, BK, RB, EVEN, True,
                )  # fmt: skip
                acc *= number(numbers, slot, INVERSE)
            else:
                acc = _product(
                    x_rows, a_rows, live, valid, rows, rows, site, threshold, K,
                    ROWS, BK, RB, EVEN, False,
                )  # fmt: skip
        else:
            acc = _product(
                x_rows, a_rows, live, valid, rows, rows, site, 0, K, ROWS, BK, RB, EVEN, False
            )
        # A row that is not finite must not reach the columns beyond the rank.
        acc = tl.where(valid[None, :], acc * number(numbers, slot, SCALE), 0.0)
    at = s + rows[:, None] * (G * R) + columns[None, :]
    tl.store(at, acc.to(s.dtype.element_ty), mask=live[:, None] & (columns < G * R)[None, :])


def shrink(x: Tensor, s: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Writes all of S [T, C]; zero where the adapter is no LoRA."""
    k = x.shape[1]
    chosen = config("shrink", k, x.dtype, x.device)
    columns = min(chosen.columns, power_of_two(group.columns))
    launch(
        shrink_kernel,
        (layout.tables.tiles.shape[0], -(-group.columns // columns)),
        chosen,
        x=x,
        s=s,
        stride=x.stride(0),
        K=k,
        BK=chosen.block,
        RB=columns,
        EVEN=k % chosen.block == 0,
        **of_tiles(layout),
        **of_slots(group),
        **of_dropout(group, layout),
    )
