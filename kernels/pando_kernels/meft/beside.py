"""All MEFT jobs' adapters beside one frozen feed-forward network, each on its own rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from pando_kernels.meft.layer import MeftKept, MeftLayer
from pando_kernels.plan import Plan, current_plan


@dataclass(frozen=True, slots=True)
class NetworkKept:
    """What the backward pass of one network's adapters needs: rows, layer and its own of each."""

    parts: tuple[tuple[slice, MeftLayer, MeftKept], ...]
    plan: Plan


def meft_forward(x: Tensor, y: Tensor, module: str, plan: Plan) -> NetworkKept | None:
    """Add every MEFT job's output to a feed-forward network's, each on its own rows.

    x [T, d], the network's input; y [T, d], its output, added to. None: no job has an adapter.
    """
    parts = plan.parts(module)
    if not parts:
        return None
    kept = tuple((rows, layer, _forward(layer, x[rows], y[rows])) for rows, layer in parts)
    return NetworkKept(kept, plan)


def meft_backward(x: Tensor, dy: Tensor, dx: Tensor | None, kept: NetworkKept) -> None:
    """x, dy, dx [T, d]; accumulates gradients, and adds to `dx` unless it is None."""
    for rows, layer, saved in kept.parts:
        balance = kept.plan.balance(rows) if layer.balance else None
        dtype = layer.memory.dtype
        x_part, dy_part = x[rows].to(dtype), dy[rows].to(dtype)
        if dx is None or dx.dtype == dtype:
            layer.backward(x_part, dy_part, None if dx is None else dx[rows], saved, balance)
        else:
            wide = torch.zeros_like(x_part)
            layer.backward(x_part, dy_part, wide, saved, balance)
            dx[rows] += wide.to(dx.dtype)


class FusedMeft(Function):
    """`meft_forward` and `meft_backward` for autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, anchor: Tensor, module: str, plan: Plan) -> Tensor:
        """x [T, d], the network's input; y [T, d], its output. Returns y plus the adapters'."""
        out = y.clone()
        ctx.kept = meft_forward(x, out, module, plan)
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dy = gradients[0]
        (x,) = ctx.saved_tensors
        dx = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        if ctx.kept is not None:
            meft_backward(x, dy, dx, ctx.kept)
        ctx.kept = None
        return dx, dy, None, None, None


def _forward(layer: MeftLayer, x: Tensor, out: Tensor) -> MeftKept:
    """Run a layer whose parameters may be wider than the base's activations."""
    dtype = layer.memory.dtype
    if x.dtype == dtype:
        return layer.forward(x, out)
    wide = torch.zeros(out.shape, dtype=dtype, device=out.device)
    kept = layer.forward(x.to(dtype), wide)
    out += wide.to(out.dtype)
    return kept


def attach_meft(name: str, feed_forward: nn.Module) -> None:
    """Let MEFT jobs work beside this feed-forward network whenever a plan has one at `name`."""

    def add_adapters(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        plan = current_plan()
        if plan is None or not plan.parts(name):
            return None
        width = output.shape[-1]
        x, y = inputs[0].reshape(-1, width), output.reshape(-1, width)
        total = cast(Tensor, FusedMeft.apply(x, y, plan.anchor, name, plan))  # type: ignore[no-untyped-call]
        return total.view(output.shape)

    feed_forward.register_forward_hook(add_adapters)
