"""A frozen linear layer shared by all jobs of a microbatch, each with its own adapter."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from pando_kernels.plan import LinearAdapter, Segment, current_plan

Parts = list[tuple[Segment, LinearAdapter]]


class FusedLinear(Function):
    """Y = X Wᵀ + b for all rows in one product, plus each segment's adapter on its own rows.

    No gradient of W is ever computed. Adapter gradients are accumulated by the adapters themselves
    during the backward pass. A row of one job never enters another job's arithmetic, so a NaN
    stays with the job that made it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor, weight: Tensor, bias: Tensor | None, parts: Parts
    ) -> Tensor:
        """x [T, in], weight [out, in], bias [out]. Returns [T, out]."""
        y = functional.linear(x, weight, bias)
        ctx.kept = [
            adapter.forward(x[part.start : part.stop], y[part.start : part.stop], part.dropout)
            for part, adapter in parts
        ]
        ctx.parts = parts
        needs_input = any(adapter.needs_input for _, adapter in parts)
        ctx.save_for_backward(x if needs_input else None, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dy = gradients[0].contiguous()
        x, weight = ctx.saved_tensors
        dx = torch.mm(dy, weight) if ctx.needs_input_grad[0] else None
        for (part, adapter), kept in zip(ctx.parts, ctx.kept, strict=True):
            rows = slice(part.start, part.stop)
            adapter.backward(
                x[rows] if adapter.needs_input else None,
                dy[rows],
                None if dx is None else dx[rows],
                kept,
            )
        ctx.kept = ctx.parts = None
        return dx, None, None, None, None


class AdaptedLinear(nn.Module):
    """Stands where an `nn.Linear` stood; plain outside a plan, fused inside one."""

    def __init__(self, name: str, linear: nn.Linear):
        super().__init__()
        self.name = name
        self.weight = linear.weight
        self.bias = linear.bias
        self.in_features = linear.in_features
        self.out_features = linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        plan = current_plan()
        parts = plan.parts(self.name) if plan is not None else []
        if plan is None or not parts:
            return functional.linear(x, self.weight, self.bias)
        rows = x.reshape(-1, self.in_features)
        y = cast(Tensor, FusedLinear.apply(rows, plan.anchor, self.weight, self.bias, parts))  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], self.out_features)
