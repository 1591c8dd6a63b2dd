"""MEFT's sparse parallel adapter with its Key-Experts router (Hao et al., ACL 2024), by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from pando_kernels.plan import Plan, current_plan


@dataclass(frozen=True, slots=True)
class MeftLayer:
    """out += W_V · TopK(ReLU(g · (W_K x))), beside one frozen feed-forward network.

    The M keys are E experts of M / E keys. A token scores the experts g = W_g x, keeps its
    `probes` best, weighs their keys' products by the expert's score, keeps the `top_k` largest of
    those that are positive, and sums their values. Nothing is dropped: selection is per token.

    keys [E, c, d], values [E, c, d] (zero at the start), router [E, d], and their gradients.
    """

    keys: Tensor
    values: Tensor
    router: Tensor
    grad_keys: Tensor
    grad_values: Tensor
    grad_router: Tensor
    probes: int
    top_k: int

    def forward(self, x: Tensor, out: Tensor) -> object:
        """x [t, d], out [t, d] (added to). Returns what `backward` needs."""
        experts, width, _ = self.keys.shape
        scores = torch.mm(x, self.router.t())  # g [t, E]
        gates, chosen = scores.topk(self.probes, dim=1, sorted=False)  # [t, P]
        visits = [(chosen == e).nonzero(as_tuple=True) for e in range(experts)]
        products = x.new_empty(x.shape[0], self.probes, width)  # k · x
        for e, (token, probe) in enumerate(visits):
            if token.numel():
                products[token, probe] = torch.mm(x[token], self.keys[e].t())
        gated = products * gates[:, :, None]
        active = gated > 0
        flat = gated.flatten(1)
        if self.top_k < flat.shape[1]:
            best = flat.topk(self.top_k, dim=1, sorted=False).indices
            kept = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, best, True)
            active &= kept.view_as(active)
        activations = torch.where(active, gated, 0.0)  # [t, P, c]
        for e, (token, probe) in enumerate(visits):
            if token.numel():
                out.index_add_(0, token, torch.mm(activations[token, probe], self.values[e]))
        return gates, visits, products, active, activations

    def backward(self, x: Tensor, dout: Tensor, dx: Tensor | None, saved: object) -> None:
        """x, dout, dx [t, d]; adds to `dx` unless it is None."""
        gates, visits, products, active, activations = cast(
            tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor, Tensor, Tensor], saved
        )
        d_gated = torch.zeros_like(products)
        for e, (token, probe) in enumerate(visits):
            if token.numel():
                dy = dout[token]
                self.grad_values[e].addmm_(activations[token, probe].t(), dy)
                d_gated[token, probe] = torch.mm(dy, self.values[e].t())
        d_gated = torch.where(active, d_gated, 0.0)
        d_gates = (d_gated * products).sum(2)  # [t, P]
        d_products = d_gated * gates[:, :, None]
        for e, (token, probe) in enumerate(visits):
            if token.numel():
                dp, rows, gate = d_products[token, probe], x[token], d_gates[token, probe]
                self.grad_keys[e].addmm_(dp.t(), rows)
                self.grad_router[e] += torch.mv(rows.t(), gate)
                if dx is not None:
                    dx.index_add_(0, token, torch.mm(dp, self.keys[e]).addr_(gate, self.router[e]))


@dataclass(frozen=True, slots=True)
class MeftKept:
    """What the backward pass of one network's adapters needs: rows, layer and its own of each."""

    parts: tuple[tuple[slice, MeftLayer, object], ...]


def meft_forward(x: Tensor, y: Tensor, module: str, plan: Plan) -> MeftKept | None:
    """Add every MEFT job's output to a feed-forward network's, each on its own rows.

    x [T, d], the network's input; y [T, d], its output, added to. None: no job has an adapter.
    """
    parts = plan.parts(module)
    if not parts:
        return None
    return MeftKept(
        tuple((rows, layer, _in_fp32(layer, x[rows], y[rows])) for rows, layer in parts)
    )


def meft_backward(x: Tensor, dy: Tensor, dx: Tensor | None, kept: MeftKept) -> None:
    """x, dy, dx [T, d]; accumulates gradients, and adds to `dx` unless it is None."""
    for rows, layer, saved in kept.parts:
        x_part, dy_part = x[rows].to(layer.keys.dtype), dy[rows].to(layer.keys.dtype)
        if dx is None or dx.dtype == x_part.dtype:
            layer.backward(x_part, dy_part, None if dx is None else dx[rows], saved)
        else:
            wide = torch.zeros_like(x_part)
            layer.backward(x_part, dy_part, wide, saved)
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


def _in_fp32(layer: MeftLayer, x: Tensor, out: Tensor) -> object:
    """Run a layer whose parameters are wider than the base's activations."""
    if x.dtype == layer.keys.dtype:
        return layer.forward(x, out)
    wide = torch.zeros(out.shape, dtype=layer.keys.dtype, device=out.device)
    saved = layer.forward(x.to(layer.keys.dtype), wide)
    out += wide.to(out.dtype)
    return saved


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
