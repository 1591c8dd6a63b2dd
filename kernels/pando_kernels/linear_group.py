"""Frozen linears that read the same input, as one product, with every job's adapters."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pando_kernels.frozen_weight import DenseWeight, FrozenWeight
from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.plan import Plan
from pando_kernels.segment_ops import segment_ops


@dataclass(frozen=True, slots=True)
class Kept:
    """What the backward pass needs: S [T, C], and X [T, K] if a LoRA adapter reads it."""

    group: GroupAdapters
    s: Tensor
    x: Tensor | None
    reads_input: bool

    def without_input(self) -> Kept:
        """For a caller that makes X again."""
        return replace(self, x=None)


@dataclass(frozen=True)
class LinearGroup:
    """Y = X Wᵀ + bias for all rows in one product, plus each segment's adapters on its own rows.

    The weights of the members `names` are stacked to one [N, K], N = Σ widths. No gradient of W is
    ever computed; adapter gradients are accumulated during the backward pass.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: FrozenWeight
    bias: Tensor | None = None

    @property
    def site(self) -> int:
        """The group's number for dropout."""
        return zlib.crc32(self.names[0].encode())

    def forward(self, x: Tensor, plan: Plan) -> tuple[Tensor, Kept | None]:
        """x [T, K] -> y [T, N], and what `backward` needs; None where no job has an adapter."""
        group = plan.adapters.group(self.names, self.widths, self.site)
        if group is None:
            return self.weight.forward(x, self.bias), None
        ops = segment_ops(x.device)
        s = ops.shrink(x, group, plan.layout)
        if isinstance(self.weight, DenseWeight) and not plan.adapters.folded:
            y = ops.product(x, self.weight.weight, self.bias, s, group, plan.layout)
        else:
            y = self.weight.forward(x, self.bias)
            if not plan.adapters.folded:
                ops.expand(s, group, plan.layout, y)
        reads_input = group.reads_input(plan.layout.slots)
        return y, Kept(group, s, x if reads_input else None, reads_input)

    def backward(
        self, dy: Tensor, kept: Kept | None, plan: Plan, x: Tensor | None, wants_dx: bool
    ) -> Tensor | None:
        """dy [T, N] -> dx [T, K], or None unless wanted.

        x is the forward's input, for a caller that computes it again instead of keeping it; None:
        what was kept.
        """
        dx = self.weight.backward(dy) if wants_dx else None
        if kept is None:
            return dx
        if plan.adapters.folded:
            _accumulate_folded(dy, kept)
            return dx
        ops = segment_ops(dy.device)
        ds = ops.reduce(dy, kept.s, kept.group, plan.layout)
        if kept.reads_input:
            inputs = kept.x if x is None else x
            assert inputs is not None
            ops.weigh(ds, inputs, kept.group, plan.layout)
        if dx is not None:
            ops.unshrink(ds, kept.group, plan.layout, dx)
        return dx


def _accumulate_folded(dy: Tensor, kept: Kept) -> None:
    """grad_B += dYᵀ S for the one job whose delta the weight contains: its dX is in dY W."""
    (slot,) = kept.group.slots
    assert slot is not None
    for g, member in enumerate(slot.members):
        if member is not None:
            first = g * kept.group.rank
            columns = kept.s[:, first : first + member.rank]
            part = dy[:, kept.group.outputs[g]]
            member.grad_b.add_(_product_in(member.grad_b.dtype, part.t(), columns))


def _product_in(dtype: torch.dtype, left: Tensor, right: Tensor) -> Tensor:
    """left right, not rounded to the factors' type on the way."""
    if left.dtype == dtype:
        return torch.mm(left, right)
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=dtype)
    return torch.mm(left.to(dtype), right.to(dtype))
