"""Each token's largest gated products, exactly: a threshold by bisection, then ties in order."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch


@triton.jit(do_not_specialize=["tokens", "top_k"])
def meft_select_kernel(
    products, gates, activations, tokens, top_k,
    P: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALL: tl.constexpr,
):  # fmt: skip
    """Program (ROWS tokens), each with P · C numbers. ALL: every positive number is kept."""
    token = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    live = (token < tokens) & (j < P * C)
    at = token * (P * C) + j
    gate = tl.load(gates + token * P + j // C, mask=live, other=0.0)
    value = tl.load(products + at, mask=live, other=0.0) * gate
    if ALL:
        found = tl.where(value <= 0.0, 0.0, value)
    else:
        # Positive numbers are ordered as their bits are.
        positive = value > 0.0
        bits = tl.where(positive, value.to(tl.int32, bitcast=True), 0)
        # What is not a number is kept, to be found, as one of the largest.
        bad = value != value
        wanted = top_k - tl.sum(bad.to(tl.int32), 1)
        least = tl.zeros((ROWS,), tl.int32)
        for i in tl.range(0, 31):
            higher = least | (1 << (30 - i))
            count = tl.sum((bits >= higher[:, None]).to(tl.int32), 1)
            least = tl.where(count >= wanted, higher, least)
        # A token that has too many of these keeps everything positive.
        least = tl.where(wanted > 0, least, 0)
        above = bits > least[:, None]
        level = (bits == least[:, None]).to(tl.int32)
        room = wanted - tl.sum(above.to(tl.int32), 1)
        first = (level > 0) & (tl.cumsum(level, 1) <= room[:, None])
        found = tl.where(bad | (positive & (above | first)), value, 0.0)
    tl.store(activations + at, found, mask=live)


@triton.jit(do_not_specialize=["rows"])
def meft_unselect_kernel(
    slopes, activations, products, gates, d_gates, rows, c,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (ROWS visits): slopes of activations become those of products."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    j = tl.arange(0, BLOCK)[None, :]
    live = (row < rows)[:, None] & (j < c)
    at = row[:, None] * c + j
    active = tl.load(activations + at, mask=live, other=0.0) > 0.0
    slope = tl.where(active, tl.load(slopes + at, mask=live, other=0.0), 0.0)
    product = tl.load(products + at, mask=live, other=0.0)
    gate = tl.load(gates + row, mask=row < rows, other=0.0)
    tl.store(d_gates + row, tl.sum(slope * product, 1), mask=row < rows)
    tl.store(slopes + at, slope * gate[:, None], mask=live)


def _shape(width: int) -> tuple[int, Config]:
    """(rows of a program, its size): about 2048 numbers each, if a row is not longer."""
    block = power_of_two(width)
    warps = 4 if block <= 2048 else 8 if block <= 8192 else 16 if block <= 16384 else 32
    return max(1, 2048 // block), Config(block, warps=warps, stages=1)


def select(products: Tensor, gates: Tensor, top_k: int) -> Tensor:
    """See `ExpertOps.select`. All in fp32 and contiguous."""
    tokens, probes, c = products.shape
    activations = torch.empty_like(products)
    rows, config = _shape(probes * c)
    launch(
        meft_select_kernel,
        (-(-tokens // rows),),
        config,
        products=products,
        gates=gates,
        activations=activations,
        tokens=tokens,
        top_k=top_k,
        P=probes,
        C=c,
        ROWS=rows,
        BLOCK=config.block,
        ALL=top_k >= probes * c,
    )
    return activations


def unselect(d_activations: Tensor, activations: Tensor, products: Tensor, gates: Tensor) -> Tensor:
    """See `ExpertOps.unselect`. All in fp32 and contiguous."""
    tokens, probes, c = products.shape
    d_gates = torch.empty_like(gates)
    rows, config = _shape(c)
    launch(
        meft_unselect_kernel,
        (-(-tokens * probes // rows),),
        config,
        slopes=d_activations,
        activations=activations,
        products=products,
        gates=gates,
        d_gates=d_gates,
        rows=tokens * probes,
        c=c,
        ROWS=rows,
        BLOCK=config.block,
    )
    return d_gates
