"""The segment operations in torch: the reference, and what runs on a CPU.

Every product covers one segment's rows, so no job's values meet another's. See `segment_ops`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from pando_kernels.dropout import keep_mask
from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.segment_layout import SegmentLayout


def _parts(group: GroupAdapters, layout: SegmentLayout) -> Iterator[tuple[slice, SlotAdapter]]:
    for rows, index in layout.parts():
        slot = group.slots[index]
        if slot is not None:
            yield rows, slot


def _empty_columns(like: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
    """[T, C]: zero, unless all of it is about to be written."""
    shape = (like.shape[0], group.columns)
    for start, stop, index in zip(layout.starts, layout.starts[1:], layout.slots, strict=False):
        slot = group.slots[index] if index >= 0 else None
        if stop > start and (slot is None or not _fills(slot, group)):
            return like.new_zeros(shape)
    return like.new_empty(shape)


def _fills(slot: SlotAdapter, group: GroupAdapters) -> bool:
    return all(member is not None and member.rank == group.rank for member in slot.members)


def _add_product(gradient: Tensor, left: Tensor, right: Tensor) -> None:
    """gradient += left right, summed in the gradient's type: 16 bits would round and overflow."""
    gradient.addmm_(left.to(gradient.dtype), right.to(gradient.dtype))


def _dropped(
    x: Tensor, rows: slice, slot: SlotAdapter, group: GroupAdapters, layout: SegmentLayout
) -> Tensor:
    """drop(x) of a segment's rows, x [t, K]; x itself where there is no dropout."""
    p = slot.first.dropout
    if p == 0.0 or layout.keys is None:
        return x
    keep = keep_mask(layout.keys.rows(rows), group.site, x.shape[1], p)
    return torch.where(keep, x, 0.0) * (1.0 / (1.0 - p))


def shrink(x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
    """X [T, K] -> S [T, C]."""
    s = _empty_columns(x, group, layout)
    for rows, slot in _parts(group, layout):
        scale = slot.first.scale
        inputs = _dropped(x[rows], rows, slot, group, layout)
        if slot.stacked_a is not None and slot.first.rank == group.rank:
            s[rows].addmm_(inputs, slot.stacked_a[0].t(), beta=0, alpha=scale)
            continue
        for g, member in enumerate(slot.members):
            if isinstance(member, LoraLinear):
                target = s[rows, g * group.rank : g * group.rank + member.rank]
                target.addmm_(inputs, member.a.t(), beta=0, alpha=scale)
            elif isinstance(member, PacaLinear):
                target = s[rows, g * group.rank : g * group.rank + member.rank]
                torch.mul(inputs.index_select(1, member.columns), scale, out=target)
    return s


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    s: Tensor,
    group: GroupAdapters,
    layout: SegmentLayout,
) -> Tensor:
    """X [T, K], W [N, K], bias [N], S [T, C] -> Y [T, N]."""
    y = functional.linear(x, weight, bias)
    expand(s, group, layout, y)
    return y


def expand(s: Tensor, group: GroupAdapters, layout: SegmentLayout, y: Tensor) -> None:
    """S [T, C] adds to Y [T, N]."""
    for rows, slot in _parts(group, layout):
        for g, member in enumerate(slot.members):
            if member is not None:
                columns = s[rows, g * group.rank : g * group.rank + member.rank]
                y[rows, group.outputs[g]].addmm_(columns, member.b.t())


def reduce(dy: Tensor, s: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
    """dY [T, N], S [T, C] -> dS [T, C]; accumulates grad_B."""
    ds = _empty_columns(s, group, layout)
    for rows, slot in _parts(group, layout):
        for g, member in enumerate(slot.members):
            if member is not None:
                columns = slice(g * group.rank, g * group.rank + member.rank)
                part = dy[rows, group.outputs[g]]
                ds[rows, columns].addmm_(part, member.b, beta=0, alpha=slot.first.scale)
                _add_product(member.grad_b, part.t(), s[rows, columns])
    return ds


def weigh(ds: Tensor, x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """dS [T, C], X [T, K]; accumulates grad_A."""
    for rows, slot in _parts(group, layout):
        if not isinstance(slot.first, LoraLinear):
            continue
        inputs = _dropped(x[rows], rows, slot, group, layout)
        if slot.stacked_a is not None and slot.first.rank == group.rank:
            _add_product(slot.stacked_a[1], ds[rows].t(), inputs)
            continue
        for g, member in enumerate(slot.members):
            if isinstance(member, LoraLinear):
                columns = ds[rows, g * group.rank : g * group.rank + member.rank]
                _add_product(member.grad_a, columns.t(), inputs)


def unshrink(ds: Tensor, group: GroupAdapters, layout: SegmentLayout, dx: Tensor) -> None:
    """dS [T, C] adds to dX [T, K]."""
    for rows, slot in _parts(group, layout):
        dropped = slot.first.dropout > 0.0 and layout.keys is not None
        target = torch.zeros_like(dx[rows]) if dropped else dx[rows]
        if slot.stacked_a is not None and slot.first.rank == group.rank:
            target.addmm_(ds[rows], slot.stacked_a[0])
        else:
            for g, member in enumerate(slot.members):
                columns = slice(g * group.rank, g * group.rank + (member.rank if member else 0))
                if isinstance(member, LoraLinear):
                    target.addmm_(ds[rows, columns], member.a)
                elif isinstance(member, PacaLinear):
                    target.index_add_(1, member.columns, ds[rows, columns])
        if dropped:
            dx[rows] += _dropped(target, rows, slot, group, layout)
