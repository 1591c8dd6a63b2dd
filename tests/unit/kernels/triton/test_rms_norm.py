"""The RMS norm's kernels: odd widths, strides, types, both conventions, and rows for themselves."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from pando_kernels.backend import always_triton
from pando_kernels.rms_norm import add_rms_norm, rms_norm, rms_norm_backward

SHAPES = [(1, 1), (5, 123), (33, 64), (3, 2500)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
EPSILON = 1e-5


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


def reference(x, weight, offset):
    """fp64 y."""
    wide = x.double()
    return wide / (wide.square().mean(1, keepdim=True) + EPSILON).sqrt() * (weight + offset)


def numbers(device, dtype, *shape, seed=1):
    return normal(seed, *shape, dtype=dtype).to(device)


@pytest.mark.parametrize(("tokens", "d"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [LlamaRMSNorm, GemmaRMSNorm])
def test_it_is_what_transformers_computes(device, kind, dtype, tokens, d):
    module = kind(d, EPSILON).to(device, dtype).requires_grad_(False)
    module.weight.copy_(normal(2, d))
    x = numbers(device, dtype, tokens, d)
    y, rstd = rms_norm(x, module.weight, EPSILON, 1.0 if kind is GemmaRMSNorm else 0.0)
    # Two sums in different orders may put a number on different sides of a rounding's edge.
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(y, module(x), rtol=4 * step, atol=1e-6)
    assert rstd.dtype == torch.float32
    expected = (x.double().square().mean(1) + EPSILON).rsqrt()
    torch.testing.assert_close(rstd.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("tokens", "d"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("adds", [False, True])
def test_the_gradient_is_autograds(device, adds, offset, dtype, tokens, d):
    x, dy, add = (numbers(device, dtype, tokens, d, seed=seed) for seed in (1, 3, 4))
    weight = numbers(device, dtype, d, seed=2)
    leaf = x.double().requires_grad_()
    reference(leaf, weight.double(), offset).backward(dy.double())
    expected = leaf.grad + add.double() if adds else leaf.grad
    _, rstd = rms_norm(x, weight, EPSILON, offset)
    dx = rms_norm_backward(dy, x, weight, rstd, offset, add if adds else None)
    assert dx.dtype == dtype
    assert not adds or dx is add
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(dx.double(), expected, rtol=4 * step, atol=32 * step)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_residual_is_added_first(device, dtype):
    residual, x = numbers(device, dtype, 6, 200), numbers(device, dtype, 6, 200, seed=2)
    weight = numbers(device, dtype, 200, seed=3)
    expected = residual + x
    total, y, rstd = add_rms_norm(residual, x, weight, EPSILON)
    assert total is x
    assert torch.equal(total, expected)
    alone = rms_norm(expected, weight, EPSILON)
    assert torch.equal(y, alone[0])
    assert torch.equal(rstd, alone[1])


def test_rows_may_lie_apart(device):
    x, weight = numbers(device, torch.float32, 6, 50)[:, 7:27], numbers(device, torch.float32, 20)
    dy = numbers(device, torch.float32, 6, 41, seed=3)[:, 20:40]
    y, rstd = rms_norm(x, weight, EPSILON)
    packed, packed_rstd = rms_norm(x.contiguous(), weight, EPSILON)
    assert torch.equal(y, packed)
    assert y.is_contiguous()
    dx = rms_norm_backward(dy, x, weight, rstd)
    assert torch.equal(dx, rms_norm_backward(dy.contiguous(), x.contiguous(), weight, packed_rstd))


@pytest.mark.parametrize("d", [40, 1500])
def test_a_row_knows_nothing_of_its_neighbours(device, d):
    x, dy = (numbers(device, torch.float32, 9, d, seed=seed) for seed in (1, 2))
    weight = numbers(device, torch.float32, d, seed=3)
    y, rstd = rms_norm(x, weight, EPSILON)
    dx = rms_norm_backward(dy, x, weight, rstd)
    x[4] = dy[4] = float("nan")
    beside, beside_rstd = rms_norm(x[2:], weight, EPSILON)
    dx_beside = rms_norm_backward(dy[2:], x[2:], weight, beside_rstd)
    others = [row for row in range(2, 9) if row != 4]
    beside_others = [row - 2 for row in others]
    assert torch.equal(y[others], beside[beside_others])
    assert torch.equal(dx[others], dx_beside[beside_others])


def test_no_rows_at_all(device):
    x, weight = torch.zeros(0, 8, device=device), torch.ones(8, device=device)
    y, rstd = rms_norm(x, weight, EPSILON)
    assert y.shape == (0, 8)
    assert rms_norm_backward(y, x, weight, rstd).shape == (0, 8)
