"""grad_A += dSᵀ drop(X): one pass over X for all members of a group, then a sum over chunks."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import CHUNK_ROWS, TILE_ROWS, SegmentLayout
from pando_kernels.triton.arguments import of_dropout, of_slots
from pando_kernels.triton.configs import config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.philox import keep_tile
from pando_kernels.triton.spans import span_count
from pando_kernels.triton.tables import (
    GRAD_A,
    INVERSE,
    THRESHOLD,
    column_rows,
    first_place,
    number,
    pointer,
    span,
)


@triton.jit
def _product(
    x, ds, stride, stride_ds, k, inside, valid, start, stop, sequence, position, site, threshold,
    first_k, ROWS: tl.constexpr, BK: tl.constexpr, CB: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    """dSᵀ [CB, rows] drop(X) [rows, BK]; ds points to its columns."""
    acc = tl.zeros((CB, BK), tl.float32)
    for row in tl.range(start, stop, ROWS):
        rows = (row + tl.arange(0, ROWS)).to(tl.int64)
        live = rows < stop
        mask = live[:, None] & inside[None, :]
        values = tl.load(x + rows[:, None] * stride + k[None, :], mask=mask, other=0.0)
        if DROP:
            key = tl.load(sequence + rows, mask=live, other=0)
            place = tl.load(position + rows, mask=live, other=0)
            keep = keep_tile(key, place, first_k, site, threshold, ROWS, BK)
            values = tl.where(keep, values, tl.zeros_like(values))
        # Beyond its rank dS is zero, so that all of it may be read in wide pieces.
        mask = live[:, None] & valid[None, :]
        columns = tl.load(ds[None, :] + rows[:, None] * stride_ds, mask=mask, other=0.0)
        acc = tl.dot(tl.trans(columns), values, acc, input_precision="ieee")
    return acc


@triton.jit(do_not_specialize=["site"])
def weigh_kernel(
    x, ds, parts, stride, K, chunks, seg_start, seg_slot, seg_chunk, table, numbers,
    sequence, position, site,
    CHUNK: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr, BK: tl.constexpr,
    CB: tl.constexpr, G: tl.constexpr, R: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """Program (chunk, tile of K, block of CB columns of dS); parts [spans, C, K]."""
    slot, start, stop, place = span(
        chunks, seg_start, seg_slot, seg_chunk, tl.program_id(0), CHUNK, SPAN
    )
    c = tl.program_id(2) * CB + tl.arange(0, CB)
    _row, _address, valid = column_rows(table, slot, c, G, R, GRAD_A)
    if tl.max(valid.to(tl.int32), 0) == 0:
        return
    first_k = tl.program_id(1) * BK
    k = first_k + tl.arange(0, BK)
    if DROPOUT:
        threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
        if threshold > 0:
            acc = _product(
                x, ds + c, stride, G * R, k, k < K, c < G * R, start, stop, sequence, position,
                site, threshold, first_k, ROWS, BK, CB, True,
            )  # fmt: skip
            acc *= number(numbers, slot, INVERSE)
        else:
            acc = _product(
                x, ds + c, stride, G * R, k, k < K, c < G * R, start, stop, sequence, position,
                site, threshold, first_k, ROWS, BK, CB, False,
            )  # fmt: skip
    else:
        acc = _product(
            x, ds + c, stride, G * R, k, k < K, c < G * R, start, stop, sequence, position, site,
            0, first_k, ROWS, BK, CB, False,
        )  # fmt: skip
    at = parts + (tl.cast(place, tl.int64) * (G * R) + c)[:, None] * K + k[None, :]
    tl.store(at, acc, mask=valid[:, None] & (k < K)[None, :])


@triton.jit(do_not_specialize=["segments"])
def sum_da_kernel(
    parts, K, segments, seg_slot, seg_chunk, table, numbers,
    SPAN: tl.constexpr, BK: tl.constexpr, CB: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (slot, tile of K, block of CB columns of dS): grad_A += the parts, in order."""
    slot = tl.program_id(0)
    c = tl.program_id(2) * CB + tl.arange(0, CB)
    row, address, valid = column_rows(table, slot, c, G, R, GRAD_A)
    if tl.max(valid.to(tl.int32), 0) == 0:
        return
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    inside = valid[:, None] & (k < K)[None, :]
    grad = (pointer(address, tl.float32) + row.to(tl.int64) * K)[:, None] + k[None, :]
    acc = tl.zeros((CB, BK), tl.float32)
    for segment in tl.range(0, segments):
        if tl.load(seg_slot + segment) == slot:
            first, count = first_place(seg_chunk, segment, SPAN)
            for place in tl.range(first, first + count):
                at = parts + (tl.cast(place, tl.int64) * (G * R) + c)[:, None] * K + k[None, :]
                acc += tl.load(at, mask=inside, other=0.0)
    tl.store(grad, acc + tl.load(grad, mask=inside, other=0.0), mask=inside)


def weigh(ds: Tensor, x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Accumulates grad_A of LoRAs; dS [T, C] is contiguous."""
    tables, k = layout.tables, x.shape[1]
    chosen, sums = (config(name, k, x.dtype, x.device) for name in ("weigh", "sum_da"))
    # Never fewer, though fewer may do: other instructions would sum in another order.
    columns = chosen.columns
    spans = span_count(layout, chosen.span)
    parts = x.new_empty((spans, group.columns, k), dtype=torch.float32)
    launch(
        weigh_kernel,
        (tables.chunks.shape[0], -(-k // chosen.block), -(-group.columns // columns)),
        chosen,
        x=x,
        ds=ds,
        parts=parts,
        stride=x.stride(0),
        K=k,
        chunks=tables.chunks,
        seg_start=tables.seg_start,
        seg_slot=tables.seg_slot,
        seg_chunk=tables.seg_chunk,
        CHUNK=CHUNK_ROWS,
        SPAN=chosen.span,
        ROWS=TILE_ROWS,
        BK=chosen.block,
        CB=columns,
        **of_slots(group),
        **of_dropout(group, layout),
    )
    columns = min(sums.columns, power_of_two(group.columns))
    launch(
        sum_da_kernel,
        (len(group.slots), -(-k // sums.block), -(-group.columns // columns)),
        sums,
        parts=parts,
        K=k,
        segments=len(layout.slots),
        seg_slot=tables.seg_slot,
        seg_chunk=tables.seg_chunk,
        SPAN=chosen.span,
        BK=sums.block,
        CB=columns,
        **of_slots(group),
    )
