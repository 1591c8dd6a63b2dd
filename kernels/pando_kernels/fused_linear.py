"""The module that stands where an `nn.Linear` stood, for models that run layer by layer."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.autograd import Function

from pando_kernels.frozen_weight import FrozenWeight
from pando_kernels.linear_group import LinearGroup
from pando_kernels.plan import Plan, current_plan


class FusedLinear(Function):
    """A `LinearGroup` for autograd. Adapter gradients accumulate in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, group: LinearGroup, plan: Plan) -> Tensor:
        """x [T, in]. Returns [T, out]."""
        y, ctx.kept = group.forward(x, plan)
        ctx.group, ctx.plan = group, plan
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dy = gradients[0].contiguous()
        dx = ctx.group.backward(dy, ctx.kept, ctx.plan, None, ctx.needs_input_grad[0])
        ctx.kept = ctx.group = ctx.plan = None
        return dx, None, None, None


class AdaptedLinear(nn.Module):
    """Stands where an `nn.Linear` stood; plain outside a plan, fused inside one."""

    def __init__(self, name: str, weight: FrozenWeight, bias: Tensor | None):
        super().__init__()
        self.name = name
        self.bias = bias
        self.out_features, self.in_features = weight.shape
        self.group = LinearGroup((name,), (self.out_features,), weight, bias)

    @property
    def frozen(self) -> FrozenWeight:
        return self.group.weight

    @property
    def weight(self) -> Tensor:
        """The weight as it is stored, for models that ask an `nn.Linear` its type or device."""
        return self.frozen.stored[0]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        plan = current_plan()
        rows = x.reshape(-1, self.in_features)
        if plan is None or not plan.adapters.touches((self.name,)):
            y = self.frozen.forward(rows, self.bias)
        else:
            y = cast(Tensor, FusedLinear.apply(rows, plan.anchor, self.group, plan))  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], self.out_features)
