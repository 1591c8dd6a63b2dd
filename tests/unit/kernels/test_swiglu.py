"""Gated activations and their gradients equal torch's and autograd's."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from torch.nn import functional

from pando_kernels.swiglu import swiglu, swiglu_backward

SHAPES = [(1, 1), (5, 123), (33, 64)]
ACTIVATIONS = ["silu", "gelu_tanh"]


def reference(gate_up, activation):
    gate, up = gate_up.double().chunk(2, 1)
    if activation == "silu":
        return functional.silu(gate) * up
    return functional.gelu(gate, approximate="tanh") * up


@pytest.mark.parametrize(("tokens", "m"), SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_the_activated_gate_times_up(dtype, activation, tokens, m):
    gate_up = normal(1, tokens, 2 * m, dtype=dtype) * 4
    kept = gate_up.clone()
    y = swiglu(gate_up, activation)
    assert y.dtype == dtype
    assert y.is_contiguous()
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(
        y.double(), reference(gate_up, activation), rtol=8 * step, atol=8 * step
    )
    assert torch.equal(gate_up, kept)


@pytest.mark.parametrize(("tokens", "m"), SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gradient_is_autograds_and_lies_in_the_inputs_memory(dtype, activation, tokens, m):
    gate_up = normal(1, tokens, 2 * m, dtype=dtype) * 4
    dact = normal(2, tokens, m, dtype=dtype)
    leaf, kept = gate_up.double().clone().requires_grad_(), dact.clone()
    reference(leaf, activation).backward(dact.double())
    gradient = swiglu_backward(dact, gate_up, activation)
    assert gradient is gate_up
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=16 * step, atol=128 * step)
    assert torch.equal(dact, kept)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_numbers_stay_finite(activation):
    gate_up = torch.tensor([[1e4, -1e4, 2.0, 3.0]])
    assert torch.equal(swiglu(gate_up, activation), torch.tensor([[2e4, 0.0]]))
    gradient = swiglu_backward(torch.ones(1, 2), gate_up, activation)
    torch.testing.assert_close(gradient, torch.tensor([[2.0, 0.0, 1e4, 0.0]]))
