"""y += weighted sums of the visited experts' rows, without atomics.

Experts' visits are products of matrices, but a token's visits lie in several. So each visit's sum
is written in fp32, and then a token's are added up in order; this for some columns of d at a time,
lest they take N · d numbers. How many at a time changes no sum.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits
from pando_kernels.triton.arguments import writable
from pando_kernels.triton.configs import config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.meft_tiles import expert_tiles, placed, tile_visits

#: What visits' sums may take at a time; more where a tile's columns of all visits are more.
SCRATCH_BYTES = 64 * 2**20


@triton.jit(do_not_specialize=["first_column"])
def meft_combine_kernel(
    weights, table, parts, tiles, order, d, c, first_column, slab,
    PROBES: tl.constexpr, ROWS: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Program (tile of visits, BN columns of the slab); parts [N, slab]."""
    block = tl.load(tiles + tl.program_id(0) * 3).to(tl.int64)
    if block < 0:
        return
    visits, _tokens, live = tile_visits(tiles, order, PROBES, ROWS)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    n = first_column * BN + column
    i = tl.arange(0, BC)
    acc = tl.zeros((ROWS, BN), tl.float32)
    for first in tl.range(0, c, BC):
        exists = first + i < c
        at = weights + visits[:, None] * c + (first + i)[None, :]
        left = tl.load(at, mask=live[:, None] & exists[None, :], other=0.0)
        at = table + (block * c + first + i)[:, None] * d + n[None, :]
        right = tl.load(at, mask=exists[:, None] & (n < d)[None, :], other=0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    at = parts + visits[:, None] * slab + column[None, :]
    tl.store(at, acc, mask=live[:, None] & (n < d)[None, :])


@triton.jit(do_not_specialize=["tokens", "first_column"])
def meft_sum_kernel(
    parts, experts, where, y, stride, tokens, d, first_column, slab,
    PROBES: tl.constexpr, PLACED: tl.constexpr, ROWS: tl.constexpr, BN: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Program (ROWS tokens, WIDTH columns of the slab). Places nobody wrote are not read."""
    token = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    exists = (first_column * BN + column < d) & (column < slab)
    inside = (token < tokens)[:, None] & exists[None, :]
    acc = tl.zeros((ROWS, WIDTH), tl.float32)
    for p in tl.range(0, PROBES, loop_unroll_factor=4):
        visit = token * PROBES + p
        mask = inside
        if PLACED:
            expert = tl.load(experts + visit, mask=token < tokens, other=0)
            mask = mask & (tl.load(where + expert) >= 0)[:, None]
        acc += tl.load(parts + visit[:, None] * slab + column[None, :], mask=mask, other=0.0)
    at = y + token[:, None] * stride + (first_column * BN + column)[None, :]
    acc += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    tl.store(at, acc.to(y.dtype.element_ty), mask=inside)


def combine(weights: Tensor, blocks: Blocks, visits: Visits, y: Tensor) -> None:
    """See `ExpertOps.combine`. Weights and table are contiguous."""
    tokens, c, d = y.shape[0], blocks.table.shape[1], y.shape[1]
    total = visits.order.shape[0]
    if total == 0:
        return
    y, dtype = writable(y), blocks.table.dtype
    chosen, sums = (config(name, d, dtype, y.device) for name in ("meft_combine", "meft_sum"))
    tiles = expert_tiles(visits, blocks, chosen.rows)
    # Rounded here, once: each tile of columns reads all weights.
    weights = weights.to(dtype)
    block, columns = chosen.block, -(-d // chosen.block)
    at_once = max(1, min(columns, SCRATCH_BYTES // (4 * total * block)))
    parts = torch.empty((total, at_once * block), dtype=torch.float32, device=y.device)
    for first in range(0, columns, at_once):
        width = min(at_once, columns - first)
        launch(
            meft_combine_kernel,
            (tiles.shape[0], width),
            chosen,
            weights=weights,
            table=blocks.table,
            parts=parts,
            tiles=tiles,
            order=visits.order,
            d=d,
            c=c,
            first_column=first,
            slab=parts.shape[1],
            PROBES=visits.probes,
            ROWS=chosen.rows,
            BN=block,
            BC=max(16, min(chosen.depth, power_of_two(c))),
        )
        launch(
            meft_sum_kernel,
            (-(-tokens // sums.rows), -(-width * block // sums.block)),
            sums,
            parts=parts,
            experts=visits.experts,
            y=y,
            stride=y.stride(0),
            tokens=tokens,
            d=d,
            first_column=first,
            slab=parts.shape[1],
            PROBES=visits.probes,
            ROWS=sums.rows,
            BN=block,
            WIDTH=sums.block,
            **placed(blocks, visits.experts),
        )
