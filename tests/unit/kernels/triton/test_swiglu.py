"""The gated activations' kernels against autograd in fp64."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from torch.nn import functional

from pando_kernels.backend import always_triton
from pando_kernels.swiglu import swiglu, swiglu_backward

SHAPES = [(1, 1), (5, 123), (3, 1024), (2, 2500)]
ACTIVATIONS = ["silu", "gelu_tanh"]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]

#: The interpreter warns where a GPU goes on with infinity, as is meant.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


def reference(gate_up, activation):
    gate, up = gate_up.double().chunk(2, 1)
    if activation == "silu":
        return functional.silu(gate) * up
    return functional.gelu(gate, approximate="tanh") * up


@pytest.mark.parametrize(("tokens", "m"), SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradient_are_autograds(device, dtype, activation, tokens, m):
    gate_up = normal(1, tokens, 2 * m, dtype=dtype).to(device) * 4
    dact = normal(2, tokens, m, dtype=dtype).to(device)
    leaf = gate_up.double().requires_grad_()
    expected = reference(leaf, activation)
    expected.backward(dact.double())
    step = torch.finfo(dtype).eps
    act = swiglu(gate_up, activation)
    assert act.dtype == dtype
    # One rounding at the end; what is nearly zero comes of 1 - 1 in fp32.
    torch.testing.assert_close(act.double(), expected.detach(), rtol=2 * step + 2e-6, atol=2e-6)
    gradient = swiglu_backward(dact, gate_up, activation)
    assert gradient is gate_up
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=2 * step + 2e-6, atol=2e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_may_lie_apart(device, activation):
    wide = normal(1, 4, 60, dtype=torch.float32).to(device)
    dacts = normal(2, 4, 30, dtype=torch.float32).to(device)
    gate_up, dact = wide[:, 3:43], dacts[:, 5:25]
    packed = gate_up.contiguous()
    kept = wide.clone()
    assert torch.equal(swiglu(gate_up, activation), swiglu(packed, activation))
    swiglu_backward(dact, gate_up, activation)
    assert torch.equal(gate_up, swiglu_backward(dact.contiguous(), packed, activation))
    assert torch.equal(wide[:, :3], kept[:, :3])
    assert torch.equal(wide[:, 43:], kept[:, 43:])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_numbers_stay_finite(device, activation):
    gate_up = torch.tensor([[1e4, -1e4, 2.0, 3.0]], device=device)
    expected = torch.tensor([[2e4, 0.0]], device=device)
    assert torch.equal(swiglu(gate_up, activation), expected)
    gradient = swiglu_backward(torch.ones(1, 2, device=device), gate_up, activation)
    torch.testing.assert_close(gradient, torch.tensor([[2.0, 0.0, 1e4, 0.0]], device=device))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_knows_nothing_of_its_neighbours(device, activation):
    gate_up = normal(1, 5, 80, dtype=torch.float32).to(device)
    dact = normal(2, 5, 40, dtype=torch.float32).to(device)
    others = [0, 1, 3, 4]
    act = swiglu(gate_up, activation)[others]
    gradient = swiglu_backward(dact, gate_up.clone(), activation)[others]
    gate_up[2] = dact[2] = float("nan")
    assert torch.equal(act, swiglu(gate_up, activation)[others])
    assert torch.equal(gradient, swiglu_backward(dact, gate_up, activation)[others])


def test_no_rows_at_all(device):
    gate_up = torch.zeros(0, 8, device=device)
    assert swiglu(gate_up).shape == (0, 4)
    assert swiglu_backward(torch.zeros(0, 4, device=device), gate_up).shape == (0, 8)
