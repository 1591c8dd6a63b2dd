"""Frozen linears that read the same input, as one product, with every job's adapters."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pando_kernels.backend import runs_triton
from pando_kernels.frozen_weight import DenseWeight, FrozenWeight
from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.pending import Pending
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
        kept = self._shrink(x, plan)
        if kept is None or plan.adapters.folded:
            return self.weight.forward(x, self.bias), kept
        ops = segment_ops(x.device)
        if isinstance(self.weight, DenseWeight):
            weight = self.weight.weight
            return ops.product(x, weight, self.bias, kept.s, kept.group, plan.layout), kept
        y = self.weight.forward(x, self.bias)
        ops.expand(kept.s, kept.group, plan.layout, y)
        return y, kept

    def forward_pending(self, x: Tensor, plan: Plan) -> tuple[Tensor, Kept | None, Pending | None]:
        """`forward` for a caller whose next step adds what y lacks, if anything, on the way."""
        if not runs_triton(x):
            return *self.forward(x, plan), None
        kept = self._shrink(x, plan)
        y = self.weight.forward(x, self.bias)
        if kept is None or plan.adapters.folded:
            return y, kept, None
        return y, kept, Pending(kept.s, kept.group, plan.layout)

    def backward(
        self, dy: Tensor, kept: Kept | None, plan: Plan, x: Tensor | None, wants_dx: bool
    ) -> Tensor | None:
        """dy [T, N] -> dx [T, K], or None unless wanted.

        x is the forward's input, for a caller that computes it again instead of keeping it; None:
        what was kept.
        """
        dx = self.weight.backward(dy) if wants_dx else None
        pending = _accumulate(dy, kept, plan, x)
        if pending is not None and dx is not None:
            segment_ops(dy.device).unshrink(pending.columns, pending.group, pending.layout, dx)
        return dx

    def backward_pending(
        self, dy: Tensor, kept: Kept | None, plan: Plan, x: Tensor | None
    ) -> tuple[Tensor, Pending | None]:
        """`backward` for a caller whose next step adds what dx lacks, if anything, on the way."""
        if runs_triton(dy):
            return self.weight.backward(dy), _accumulate(dy, kept, plan, x)
        dx = self.backward(dy, kept, plan, x, True)
        assert dx is not None
        return dx, None

    def _shrink(self, x: Tensor, plan: Plan) -> Kept | None:
        group = plan.adapters.group(self.names, self.widths, self.site)
        if group is None:
            return None
        s = segment_ops(x.device).shrink(x, group, plan.layout)
        reads_input = group.reads_input(plan.layout.slots)
        return Kept(group, s, x if reads_input else None, reads_input)


def _accumulate(dy: Tensor, kept: Kept | None, plan: Plan, x: Tensor | None) -> Pending | None:
    """Adds to the adapters' gradients; what dY W lacks of dX."""
    if kept is None:
        return None
    if plan.adapters.folded:
        _accumulate_folded(dy, kept)
        return None
    ops = segment_ops(dy.device)
    ds = ops.reduce(dy, kept.s, kept.group, plan.layout)
    if kept.reads_input:
        inputs = kept.x if x is None else x
        assert inputs is not None
        ops.weigh(ds, inputs, kept.group, plan.layout)
    return Pending(ds, kept.group, plan.layout)


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
