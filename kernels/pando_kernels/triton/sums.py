"""Tiles of S Bᵀ and of dS A, for kernels that add them to what they read anyway."""

import triton
import triton.language as tl

from pando_kernels.triton.philox import keep_tile
from pando_kernels.triton.tables import (
    INVERSE,
    LORA,
    THRESHOLD,
    A,
    B,
    address,
    member,
    number,
    pointer,
    ranked,
)


@triton.jit
def expanded(
    s, rows, live, table, slot, g, rank, b_rows, exists,
    ROWS: tl.constexpr, BN: tl.constexpr, RB: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """S Bᵀ of member g, fp32 [ROWS, BN], for rows of one slot and rows b_rows [BN] of B."""
    acc = tl.zeros((ROWS, BN), tl.float32)
    b = pointer(address(table, slot, g, G, B), s.dtype.element_ty)
    for first in tl.range(0, rank, RB, num_stages=1):
        at = s + rows[:, None] * (G * R) + (g * R + first + tl.arange(0, RB))[None, :]
        columns = tl.load(at, mask=live[:, None], other=0.0)
        acc = tl.dot(
            columns,
            tl.trans(ranked(b, b_rows, exists, first, rank, RB)),
            acc,
            input_precision="ieee",
        )
    return acc


@triton.jit
def unshrunk(
    ds, rows, live, table, slot, k, K,
    ROWS: tl.constexpr, BK: tl.constexpr, RB: tl.constexpr, G: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """(dS A of all members, fp32 [ROWS, BK], the sum of their ranks), for LoRAs; k [BK]."""
    total = 0
    acc = tl.zeros((ROWS, BK), tl.float32)
    for g in tl.static_range(G):
        rank = member(table, slot, g, G, LORA)
        a = pointer(address(table, slot, g, G, A), ds.dtype.element_ty)
        for first in tl.range(0, rank, RB, num_stages=1):
            i = first + tl.arange(0, RB)
            at = ds + rows[:, None] * (G * R) + (g * R + i)[None, :]
            columns = tl.load(at, mask=live[:, None], other=0.0)
            at = a + i.to(tl.int64)[:, None] * K + k[None, :]
            inside = (i < rank)[:, None] & (k < K)[None, :]
            acc = tl.dot(columns, tl.load(at, mask=inside, other=0.0), acc, input_precision="ieee")
        total += rank
    return acc, total


@triton.jit
def dropped(
    acc, rows, live, numbers, slot, sequence, position, first, site,
    ROWS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """drop(acc), the tile of columns `first` on, with the slot's probability, which may be 0."""
    threshold = number(numbers, slot, THRESHOLD).to(tl.int32)
    if threshold > 0:
        key = tl.load(sequence + rows, mask=live, other=0)
        place = tl.load(position + rows, mask=live, other=0)
        keep = keep_tile(key, place, first, site, threshold, ROWS, BK)
        acc = tl.where(keep, acc * number(numbers, slot, INVERSE), 0.0)
    return acc
