"""dS = s · dY B and grad_B += dYᵀ S: in one pass over dY where the rank is narrow, else in two.

A pass that makes both writes a part of dS for every tile of N and reads it again: 8 R bytes for
each BN numbers of dY. Reading dY once more costs the size of those numbers. So a rank R is narrow
if 8 R < BN · size. The way follows from a job's own rank, so that its sums are the same in any
company.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.group_adapters import SMALLEST_RANK, GroupAdapters
from pando_kernels.segment_layout import CHUNK_ROWS, TILE_ROWS, SegmentLayout
from pando_kernels.triton.arguments import of_slots, of_tiles
from pando_kernels.triton.configs import Config, config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.outputs import OutputTiles, output_tiles
from pando_kernels.triton.reduce_pass import reduce_pass_kernel
from pando_kernels.triton.reduce_sums import sum_db_kernel, sum_ds_kernel
from pando_kernels.triton.reduce_tile import reduce_tile_kernel
from pando_kernels.triton.spans import span_count


@dataclass(frozen=True, slots=True)
class _Call:
    """One reduction: tensors as in `segment_ops`."""

    dy: Tensor
    s: Tensor
    ds: Tensor
    group: GroupAdapters
    layout: SegmentLayout

    def config(self, kernel: str) -> Config:
        return config(kernel, self.dy.shape[1], self.dy.dtype, self.dy.device)

    def outputs(self, block: int) -> OutputTiles:
        return output_tiles(self.group.widths, block, self.dy.device)


def narrow_up_to(block: int, itemsize: int) -> int:
    """The largest padded rank for which one pass moves fewer bytes; 0 if there is none."""
    rank = SMALLEST_RANK
    while 8 * rank * 2 < block * itemsize:
        rank *= 2
    return rank if 8 * rank < block * itemsize else 0


def reduce(dy: Tensor, s: Tensor, ds: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """Writes all of dS [T, C], accumulates grad_B; some slot must have an adapter."""
    call = _Call(dy, s, ds, group, layout)
    ranks = [slot.first.rank for slot in group.slots if slot is not None]
    up_to = narrow_up_to(call.config("reduce_narrow").block, dy.element_size())
    if min(ranks) <= up_to:
        _one_pass(call, min(up_to, group.rank))
    else:
        ds.zero_()
    if max(ranks) > up_to:
        _two_passes(call, up_to)


def _one_pass(call: _Call, up_to: int) -> None:
    chosen = call.config("reduce_narrow")
    outputs = call.outputs(chosen.block)
    tokens = call.dy.shape[0]
    parts = call.dy.new_empty((outputs.count, tokens, up_to), dtype=torch.float32)
    _reduce_tiles(call, chosen, parts, above=0, up_to=up_to)
    launch(
        sum_ds_kernel,
        (call.layout.tables.tiles.shape[0], len(call.group.widths)),
        call.config("sum_ds"),
        ds=call.ds,
        ds_parts=parts,
        tokens=tokens,
        output_first=outputs.first,
        RB=up_to,
        UP_TO=up_to,
        **of_tiles(call.layout),
        **of_slots(call.group),
    )


def _two_passes(call: _Call, above: int) -> None:
    chosen = call.config("reduce_pass")
    outputs = call.outputs(chosen.block)
    columns = min(chosen.columns, call.group.rank)
    launch(
        reduce_pass_kernel,
        (call.layout.tables.tiles.shape[0], len(call.group.widths), call.group.rank // columns),
        chosen,
        dy=call.dy,
        ds=call.ds,
        stride=call.dy.stride(0),
        outputs=outputs.tiles,
        output_first=outputs.first,
        BN=chosen.block,
        RB=columns,
        ALIGNED=outputs.aligned,
        ABOVE=above,
        **of_tiles(call.layout),
        **of_slots(call.group),
    )
    _reduce_tiles(call, call.config("reduce_wide"), None, above, call.group.rank)


def _reduce_tiles(
    call: _Call, chosen: Config, ds_parts: Tensor | None, above: int, up_to: int
) -> None:
    """grad_B of members with a rank in (above, up_to], and their parts of dS if wanted."""
    tables, outputs = call.layout.tables, call.outputs(chosen.block)
    width = call.dy.shape[1]
    columns = up_to if ds_parts is not None else min(chosen.columns, up_to)
    spans = span_count(call.layout, chosen.span)
    db_parts = call.dy.new_empty((spans, width, up_to), dtype=torch.float32)
    launch(
        reduce_tile_kernel,
        (tables.chunks.shape[0], outputs.count, up_to // columns),
        chosen,
        dy=call.dy,
        s=call.s,
        ds_parts=db_parts if ds_parts is None else ds_parts,
        db_parts=db_parts,
        stride=call.dy.stride(0),
        tokens=call.dy.shape[0],
        N=width,
        outputs=outputs.tiles,
        chunks=tables.chunks,
        seg_start=tables.seg_start,
        seg_slot=tables.seg_slot,
        seg_chunk=tables.seg_chunk,
        CHUNK=CHUNK_ROWS,
        SPAN=chosen.span,
        ROWS=TILE_ROWS,
        BN=chosen.block,
        RB=columns,
        ALIGNED=outputs.aligned,
        ABOVE=above,
        UP_TO=up_to,
        WITH_DS=ds_parts is not None,
        **of_slots(call.group),
    )
    sums = call.config("sum_db")
    tiles = call.outputs(sums.block)
    sum_columns = min(sums.columns, up_to)
    launch(
        sum_db_kernel,
        (len(call.group.slots), tiles.count, up_to // sum_columns),
        sums,
        db_parts=db_parts,
        N=width,
        segments=len(call.layout.slots),
        outputs=tiles.tiles,
        seg_slot=tables.seg_slot,
        seg_chunk=tables.seg_chunk,
        SPAN=chosen.span,
        BN=sums.block,
        RB=sum_columns,
        WRITTEN=columns,
        ALIGNED=tiles.aligned,
        ABOVE=above,
        UP_TO=up_to,
        **of_slots(call.group),
    )
