"""Gated activations that add what adapters still owe their inputs. See pando_kernels.pending.

A program takes a tile of one segment's rows, so that it knows whose adapter serves them. Without a
pending sum, rows get the same arithmetic as in pando_kernels.triton.swiglu.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.pending import Pending
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton.activations import activated
from pando_kernels.triton.arguments import (
    check_types,
    has_kind,
    of_dropout,
    of_slots,
    of_tiles,
    readable,
    writable,
)
from pando_kernels.triton.configs import config
from pando_kernels.triton.launch import launch
from pando_kernels.triton.paca_scatter import paca_scatter
from pando_kernels.triton.sums import dropped, expanded, unshrunk
from pando_kernels.triton.tables import member, tile


@triton.jit
def _whole(
    found, s, rows, live, table, slot, g, columns, exists,
    ROWS: tl.constexpr, BM: tl.constexpr, RB: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """found, a tile of half g of gate_up, in fp32 with its S Bᵀ."""
    job = tl.maximum(slot, 0)
    rank = tl.where(slot >= 0, member(table, job, g, 2, 0), 0)
    owed = expanded(s, rows, live, table, job, g, rank, columns, exists, ROWS, BM, RB, 2, R)
    found = found.to(tl.float32)
    return tl.where(rank > 0, found + owed, found)


@triton.jit
def _whole_dact(
    found, ds, rows, live, table, slot, numbers, sequence, position, site, first, M,
    ROWS: tl.constexpr, BM: tl.constexpr, RB: tl.constexpr, R: tl.constexpr,
    DROPOUT: tl.constexpr,
):  # fmt: skip
    """found, a tile of dact from column `first` on, in fp32 with its drop(dS A)."""
    rank = 0
    owed = tl.zeros((ROWS, BM), tl.float32)
    if slot >= 0:
        columns = first + tl.arange(0, BM)
        owed, rank = unshrunk(ds, rows, live, table, slot, columns, M, ROWS, BM, RB, 1, R)
        if DROPOUT:
            owed = dropped(
                owed, rows, live, numbers, slot, sequence, position, first, site, ROWS, BM
            )
    found = found.to(tl.float32)
    return tl.where(rank > 0, found + owed, found)


@triton.jit
def swiglu_pending_kernel(
    gate_up, act, s, M, stride, tiles, seg_start, seg_slot, table,
    ROWS: tl.constexpr, BM: tl.constexpr, RB: tl.constexpr, R: tl.constexpr, GELU: tl.constexpr,
):  # fmt: skip
    """Program (tile, stretch of BM columns). What is large is asked for first, before the sums."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    columns = tl.program_id(1) * BM + tl.arange(0, BM)
    exists = columns < M
    inside = live[:, None] & exists[None, :]
    at = gate_up + rows[:, None] * stride + columns[None, :]
    gate = tl.load(at, mask=inside, other=0.0)
    up = tl.load(at + M, mask=inside, other=0.0)
    gate = _whole(gate, s, rows, live, table, slot, 0, columns, exists, ROWS, BM, RB, R)
    active, _ = activated(gate, GELU)
    active *= _whole(up, s, rows, live, table, slot, 1, columns, exists, ROWS, BM, RB, R)
    at = act + rows[:, None] * M + columns[None, :]
    tl.store(at, active.to(act.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["site"])
def swiglu_pending_backward_kernel(
    dact, gate_up, s, ds, M, dact_stride, stride, tiles, seg_start, seg_slot,
    table, down_table, numbers, sequence, position, site,
    ROWS: tl.constexpr, BM: tl.constexpr, RB: tl.constexpr, R: tl.constexpr,
    DOWN_RB: tl.constexpr, DOWN_R: tl.constexpr, DROPOUT: tl.constexpr, GELU: tl.constexpr,
):  # fmt: skip
    """Program (tile, stretch of BM columns). R or DOWN_R 0: gate_up or dact is whole already."""
    slot, rows, live = tile(tiles, seg_start, seg_slot, tl.program_id(0), ROWS)
    first = tl.program_id(1) * BM
    columns = first + tl.arange(0, BM)
    exists = columns < M
    inside = live[:, None] & exists[None, :]
    at_dact = dact + rows[:, None] * dact_stride + columns[None, :]
    at = gate_up + rows[:, None] * stride + columns[None, :]
    d = tl.load(at_dact, mask=inside, other=0.0)
    gate = tl.load(at, mask=inside, other=0.0)
    up = tl.load(at + M, mask=inside, other=0.0)
    if DOWN_R > 0:
        d = _whole_dact(
            d, ds, rows, live, down_table, slot, numbers, sequence, position, site, first, M,
            ROWS, BM, DOWN_RB, DOWN_R, DROPOUT,
        )  # fmt: skip
    if R > 0:
        gate = _whole(gate, s, rows, live, table, slot, 0, columns, exists, ROWS, BM, RB, R)
        up = _whole(up, s, rows, live, table, slot, 1, columns, exists, ROWS, BM, RB, R)
    d, up = d.to(tl.float32), up.to(tl.float32)
    active, slope = activated(gate.to(tl.float32), GELU)
    # What one thread has read another may overwrite.
    tl.debug_barrier()
    tl.store(at, (d * up * slope).to(gate_up.dtype.element_ty), mask=inside)
    tl.store(at + M, (d * active).to(gate_up.dtype.element_ty), mask=inside)


def swiglu(gate_up: Tensor, activation: str, pending: Pending) -> Tensor:
    gate_up = readable(gate_up)
    m = gate_up.shape[1] // 2
    act = gate_up.new_empty(gate_up.shape[0], m)
    chosen = config("swiglu_pending", m, gate_up.dtype, gate_up.device)
    launch(
        swiglu_pending_kernel,
        (pending.layout.tables.tiles.shape[0], -(-m // chosen.block)),
        chosen,
        gate_up=gate_up,
        act=act,
        M=m,
        stride=gate_up.stride(0),
        BM=chosen.block,
        GELU=activation == "gelu_tanh",
        **of_tiles(pending.layout),
        **_of_gate_up(pending, gate_up, chosen.columns),
    )
    return act


def swiglu_backward(
    dact: Tensor,
    gate_up: Tensor,
    activation: str,
    pending: Pending | None,
    pending_dact: Pending | None,
) -> Tensor:
    """At least one sum is pending; PaCA's are added to dact itself."""
    dact = readable(dact)
    m = dact.shape[1]
    layout = _layout(pending, pending_dact)
    if pending_dact is not None:
        _add_paca(pending_dact, dact)
    chosen = config("swiglu_pending_backward", m, gate_up.dtype, gate_up.device)
    launch(
        swiglu_pending_backward_kernel,
        (layout.tables.tiles.shape[0], -(-m // chosen.block)),
        chosen,
        dact=dact,
        gate_up=writable(gate_up),
        M=m,
        dact_stride=dact.stride(0),
        stride=gate_up.stride(0),
        BM=chosen.block,
        GELU=activation == "gelu_tanh",
        **of_tiles(layout),
        **_of_gate_up(pending, gate_up, chosen.columns),
        **_of_dact(pending_dact, dact, layout, chosen.columns),
    )
    return gate_up


def _layout(*pending: Pending | None) -> SegmentLayout:
    """The one layout of what is pending; ValueError if it is not one."""
    first, *others = (one.layout for one in pending if one is not None)
    if any(other is not first for other in others):
        raise ValueError("sums of two layouts are pending: they must be of one microbatch")
    return first


def _add_paca(pending: Pending, dact: Tensor) -> None:
    """PaCA's few columns need no pass over dact."""
    check_types(pending.group, dact.dtype)
    if has_kind(pending.group, PacaLinear):
        paca_scatter(pending.columns.contiguous(), writable(dact), pending.group, pending.layout)


def _of_gate_up(pending: Pending | None, gate_up: Tensor, columns: int) -> dict[str, Any]:
    if pending is None:
        return {"s": gate_up, "table": gate_up, "RB": 0, "R": 0}
    group = pending.group
    if group.widths != (gate_up.shape[1] // 2,) * 2:
        raise ValueError(f"gate and up must be of equal width; got {group.widths}")
    check_types(group, gate_up.dtype)
    slots = of_slots(group)
    return {
        "s": pending.columns.contiguous(),
        "table": slots["table"],
        "RB": min(columns, group.rank),
        "R": group.rank,
    }


def _of_dact(
    pending: Pending | None, dact: Tensor, layout: SegmentLayout, columns: int
) -> dict[str, Any]:
    """For LoRAs' sums."""
    if pending is None or not has_kind(pending.group, LoraLinear):
        unread = layout.tables.seg_start
        names = ("ds", "down_table", "numbers", "sequence", "position")
        return {
            **dict.fromkeys(names, unread),
            "site": 0,
            "DOWN_RB": 0,
            "DOWN_R": 0,
            "DROPOUT": False,
        }
    group = pending.group
    slots = of_slots(group)
    return {
        "ds": pending.columns.contiguous(),
        "down_table": slots["table"],
        "numbers": slots["numbers"],
        "DOWN_RB": min(columns, group.rank),
        "DOWN_R": group.rank,
        **of_dropout(group, layout),
    }
