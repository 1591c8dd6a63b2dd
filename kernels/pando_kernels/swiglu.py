"""What gated feed-forward networks do between their products (Shazeer, arXiv 2002.05202)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pando_kernels.backend import runs_triton
from pando_kernels.pending import Pending

Activation = Literal["silu", "gelu_tanh"]


def swiglu(
    gate_up: Tensor, activation: Activation = "silu", pending: Pending | None = None
) -> Tensor:
    """gate_up [T, 2m], the gate in the first half -> activation(gate) · up, [T, m].

    pending: what gate_up lacks; it is added on the way, and gate_up stays as it is. Triton only.
    """
    if runs_triton(gate_up):
        from pando_kernels.triton import swiglu as compiled
        from pando_kernels.triton import swiglu_pending

        if pending is not None:
            return swiglu_pending.swiglu(gate_up, activation, pending)
        return compiled.swiglu(gate_up, activation)
    assert pending is None
    gate, up = gate_up.chunk(2, dim=1)
    return _activated(gate, activation).mul_(up)


def swiglu_backward(
    dact: Tensor,
    gate_up: Tensor,
    activation: Activation = "silu",
    pending: Pending | None = None,
    pending_dact: Pending | None = None,
) -> Tensor:
    """dact [T, m], gate_up [T, 2m] -> d(gate_up) [T, 2m], in gate_up's memory.

    pending and pending_dact: what gate_up and dact lack, added on the way; then dact is not to be
    read again. Triton only.
    """
    if runs_triton(gate_up):
        from pando_kernels.triton import swiglu as compiled
        from pando_kernels.triton import swiglu_pending

        if pending is not None or pending_dact is not None:
            return swiglu_pending.swiglu_backward(dact, gate_up, activation, pending, pending_dact)
        return compiled.swiglu_backward(dact, gate_up, activation)
    assert pending is None
    assert pending_dact is None
    gate, up = gate_up.chunk(2, dim=1)
    if activation == "silu":
        # On a CPU these six passes take less time than ATen's silu and silu_backward.
        sigmoid = torch.sigmoid(gate)
        silu = sigmoid * gate
        slope = torch.lerp(silu, silu.new_ones(()), sigmoid, out=sigmoid)  # silu'
        torch.mul(slope.mul_(dact), up, out=gate)
        torch.mul(silu, dact, out=up)
        return gate_up
    activated = _activated(gate, activation)
    d_activated = dact * up
    torch.mul(activated, dact, out=up)
    torch.ops.aten.gelu_backward.grad_input(d_activated, gate, approximate="tanh", grad_input=gate)
    return gate_up


def _activated(gate: Tensor, activation: Activation) -> Tensor:
    if activation == "silu":
        return functional.silu(gate)
    return functional.gelu(gate, approximate="tanh")
