"""Y = X Wᵀ + bias + S Bᵀ in one kernel: tiles of the base product that may serve several jobs."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import GEMM_ROWS, SegmentLayout
from pando_kernels.triton.arguments import of_slots
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.outputs import output_tiles
from pando_kernels.triton.tables import B, address, member, output_tile, pointer, ranked

#: So many tiles of rows share what they read of W while it is in the second-level cache.
NEIGHBOURS = 8


@triton.jit(do_not_specialize=["tokens", "row_tiles", "output_count"])
def gemm_expand_kernel(
    x, w, bias, s, y, stride_x, stride_w, tokens, K, row_tiles, output_count, outputs,
    gemm_first, seg_start, seg_slot, table, numbers,
    ROWS: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, RB: tl.constexpr,
    EVEN: tl.constexpr, ALIGNED: tl.constexpr, BIAS: tl.constexpr, NEIGHBOURS: tl.constexpr,
    N: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Program (tile of rows, tile of a member's columns), neighbours first."""
    wave = tl.program_id(0) // (NEIGHBOURS * output_count)
    tall = tl.minimum(row_tiles - wave * NEIGHBOURS, NEIGHBOURS)
    place = tl.program_id(0) % (NEIGHBOURS * output_count)
    row_tile = wave * NEIGHBOURS + place % tall
    g, n, b_rows, exists = output_tile(outputs, place // tall, BN, ALIGNED)
    rows = (row_tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    live = rows < tokens
    k = tl.arange(0, BK)
    x_rows = x + rows * stride_x
    w_rows = w + n.to(tl.int64) * stride_w
    acc = tl.zeros((ROWS, BN), tl.float32)
    for first in tl.range(0, K, BK):
        mask = live[:, None] if EVEN else live[:, None] & (first + k < K)[None, :]
        left = tl.load(x_rows[:, None] + (first + k)[None, :], mask=mask, other=0.0)
        mask = exists[None, :] if EVEN else exists[None, :] & (first + k < K)[:, None]
        right = tl.load(w_rows[None, :] + (first + k)[:, None], mask=mask, other=0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    if BIAS:
        acc += tl.load(bias + n, mask=exists, other=0.0).to(tl.float32)[None, :]
    last = tl.load(gemm_first + row_tile + 1)
    for segment in tl.range(tl.load(gemm_first + row_tile), last + 1, num_stages=1):
        slot = tl.load(seg_slot + segment)
        if slot >= 0:
            start = tl.load(seg_start + segment)
            own = (rows >= start) & (rows < tl.load(seg_start + segment + 1)) & live
            rank = member(table, slot, g, G, 0)
            b = pointer(address(table, slot, g, G, B), s.dtype.element_ty)
            for first in tl.range(0, rank, RB, num_stages=1):
                at = s + rows[:, None] * (G * R) + (g * R + first + tl.arange(0, RB))[None, :]
                columns = tl.load(at, mask=own[:, None], other=0.0)
                values = ranked(b, b_rows, exists, first, rank, RB)
                # Zero times what is not finite is not zero: other jobs' rows never meet it, and
                # the job's own rows become NaN where its B is bad.
                finite = tl.abs(values.to(tl.float32)) < float("inf")
                values = tl.where(finite, values, tl.zeros_like(values))
                bad = tl.min(finite.to(tl.int32), 1) == 0
                acc = tl.dot(columns, tl.trans(values), acc, input_precision="ieee")
                acc = tl.where(own[:, None] & bad[None, :], float("nan"), acc)
    at = y + rows[:, None] * N + n[None, :]
    tl.store(at, acc.to(y.dtype.element_ty), mask=live[:, None] & exists[None, :])


def gemm_expand(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    s: Tensor,
    group: GroupAdapters,
    layout: SegmentLayout,
) -> Tensor:
    """X [T, K], W [N, K], bias [N], S [T, C] -> Y [T, N]; some slot must have an adapter."""
    tokens, k = x.shape
    width = weight.shape[0]
    y = x.new_empty((tokens, width))
    chosen = config("gemm_expand", k, x.dtype, x.device)
    outputs = output_tiles(group.widths, chosen.block, x.device)
    row_tiles = -(-tokens // GEMM_ROWS)
    launch(
        gemm_expand_kernel,
        (row_tiles * outputs.count,),
        chosen,
        x=x,
        w=weight,
        bias=weight if bias is None else bias,
        s=s,
        y=y,
        stride_x=x.stride(0),
        stride_w=weight.stride(0),
        tokens=tokens,
        K=k,
        row_tiles=row_tiles,
        output_count=outputs.count,
        outputs=outputs.tiles,
        gemm_first=layout.tables.gemm_first,
        seg_start=layout.tables.seg_start,
        seg_slot=layout.tables.seg_slot,
        ROWS=GEMM_ROWS,
        BN=chosen.block,
        BK=chosen.depth,
        RB=min(chosen.columns, group.rank),
        EVEN=k % chosen.depth == 0,
        ALIGNED=outputs.aligned,
        BIAS=bias is not None,
        NEIGHBOURS=NEIGHBOURS,
        N=width,
        **of_slots(group),
    )
    return y
