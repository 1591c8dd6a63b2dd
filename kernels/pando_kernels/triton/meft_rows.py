"""Rows between the host's pinned memory and the device's: a GPU reads and writes both.

A link to the host is slow, and whoever waits for it holds a place that another kernel could have.
So a few programs take all rows in turn: what they have on the way at a time fills the link.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.row_copies import Fetch, Push
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.meft_tiles import placed

PROGRAMS = 64
#: Numbers that a program has on the way at a time, at most.
_NUMBERS = 4096
_COPY = tl.constexpr(int(Fetch.COPY))
_ADD = tl.constexpr(int(Push.ADD))


@triton.jit
def _place(orders, where, row, c, stride_e, stride_r, PLACED: tl.constexpr):
    """(the order, the row's place in the table) of row `row` of all; place -1: nothing to do."""
    e, r = row // c, row % c
    order = tl.load(orders + e * stride_e + r * stride_r)
    block = tl.load(where + e).to(tl.int64) if PLACED else e
    place = block * c + r
    return order, tl.where((order == 0) | (block < 0), -1, place)


@triton.jit(do_not_specialize=["stride_e", "stride_r"])
def meft_fetch_kernel(
    source, orders, where, table, rows, c, d, stride_e, stride_r,
    PLACED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Every program takes every PROGRAMS-th row."""
    for i in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.cast(i, tl.int64)
        order, place = _place(orders, where, row, c, stride_e, stride_r, PLACED)
        if place >= 0:
            for first in tl.range(0, d, BLOCK):
                k = first + tl.arange(0, BLOCK)
                # A row to be cleared is not read.
                at = source + row * d + k
                value = tl.load(at, mask=(k < d) & (order == _COPY), other=0.0)
                tl.store(table + place * d + k, value.to(table.dtype.element_ty), mask=k < d)


@triton.jit(do_not_specialize=["stride_e", "stride_r"])
def meft_push_kernel(
    table, orders, where, target, rows, c, d, stride_e, stride_r,
    PLACED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Every program takes every PROGRAMS-th row."""
    for i in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.cast(i, tl.int64)
        order, place = _place(orders, where, row, c, stride_e, stride_r, PLACED)
        if place >= 0:
            for first in tl.range(0, d, BLOCK):
                k = first + tl.arange(0, BLOCK)
                value = tl.load(table + place * d + k, mask=k < d, other=0.0).to(tl.float32)
                at = target + row * d + k
                # Over a row to be written there may be anything: it is not read.
                there = tl.load(at, mask=(k < d) & (order == _ADD), other=0.0).to(tl.float32)
                value = tl.where(order == _ADD, there + value, value)
                tl.store(at, value.to(target.dtype.element_ty), mask=k < d)


def fetch_rows(source: Tensor, orders: Tensor, blocks: Blocks) -> None:
    arguments = _arguments(source, orders, blocks)
    _launch(meft_fetch_kernel, source=source, **arguments)


def push_rows(blocks: Blocks, orders: Tensor, target: Tensor) -> None:
    arguments = _arguments(target, orders, blocks)
    _launch(meft_push_kernel, target=target, **arguments)


def _arguments(rows: Tensor, orders: Tensor, blocks: Blocks) -> dict[str, Any]:
    """ValueError if rows do not lie one after the other."""
    if not (rows.is_contiguous() and blocks.table.is_contiguous()):
        raise ValueError(f"rows must be contiguous; strides {rows.stride()}")
    experts, c, d = rows.shape
    return {
        "orders": orders,
        "table": blocks.table,
        "rows": experts * c,
        "c": c,
        "d": d,
        "stride_e": orders.stride(0),
        "stride_r": orders.stride(1),
        **placed(blocks, orders),
    }


def _launch(kernel: Any, **arguments: Any) -> None:
    block = min(_NUMBERS, power_of_two(arguments["d"]))
    config = Config(block, warps=4, stages=1)
    launch(kernel, (min(PROGRAMS, arguments["rows"]),), config, **arguments, BLOCK=block)
