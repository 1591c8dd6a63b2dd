"""The RMS norm is transformers' own, and its gradient autograd's."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from pando_kernels.rms_norm import add_rms_norm, rms_norm, rms_norm_backward

SHAPES = [(1, 1), (5, 123), (33, 64), (7, 512)]
EPSILON = 1e-5


def reference(x, weight, offset):
    wide = x.double()
    return wide / (wide.square().mean(1, keepdim=True) + EPSILON).sqrt() * (weight + offset)


@pytest.mark.parametrize(("tokens", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, GemmaRMSNorm])
def test_it_is_what_transformers_computes(kind, dtype, tokens, d):
    module = kind(d, EPSILON).to(dtype).requires_grad_(False)
    module.weight.copy_(normal(2, d))
    x = normal(1, tokens, d, dtype=dtype)
    y, rstd = rms_norm(x, module.weight, EPSILON, 1.0 if kind is GemmaRMSNorm else 0.0)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(y, module(x), rtol=4 * step, atol=1e-6)
    assert rstd.dtype == torch.float32
    expected = (x.double().square().mean(1) + EPSILON).rsqrt()
    torch.testing.assert_close(rstd.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("tokens", "d"), SHAPES)
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("adds", [False, True])
def test_the_gradient_is_autograds(adds, offset, tokens, d):
    x, weight = normal(1, tokens, d).requires_grad_(), normal(2, d)
    dy, add = normal(3, tokens, d), normal(4, tokens, d)
    reference(x, weight, offset).backward(dy)
    expected = x.grad + add if adds else x.grad
    data = x.detach()
    _, rstd = rms_norm(data, weight, EPSILON, offset)
    dx = rms_norm_backward(dy, data, weight, rstd, offset, add if adds else None)
    torch.testing.assert_close(dx, expected, rtol=1e-9, atol=1e-9)
    assert not adds or dx is add


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_in_narrow_types_is_near(dtype, adds):
    x, weight = normal(1, 9, 40, dtype=dtype), normal(2, 40, dtype=dtype)
    dy, add = normal(3, 9, 40, dtype=dtype), normal(4, 9, 40, dtype=dtype)
    leaf = x.double().requires_grad_()
    reference(leaf, weight.double(), 0.0).backward(dy.double())
    expected = leaf.grad + add.double() if adds else leaf.grad
    _, rstd = rms_norm(x, weight, EPSILON)
    dx = rms_norm_backward(dy, x, weight, rstd, 0.0, add if adds else None)
    assert dx.dtype == dtype
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(dx.double(), expected, rtol=4 * step, atol=8 * step)


def test_rows_may_lie_apart():
    wide, weight = normal(1, 6, 50), normal(2, 20)
    x = wide[:, 7:27]
    y, rstd = rms_norm(x, weight, EPSILON)
    torch.testing.assert_close(y, reference(x, weight, 0.0))
    dy = normal(3, 6, 20)
    apart = rms_norm_backward(dy, x, weight, rstd)
    assert torch.equal(apart, rms_norm_backward(dy, x.contiguous(), weight, rstd))


def test_the_residual_is_added_first():
    residual, x, weight = normal(1, 6, 20), normal(2, 6, 20), normal(3, 20)
    expected = residual + x
    total, y, rstd = add_rms_norm(residual, x, weight, EPSILON)
    assert total is x
    assert torch.equal(total, expected)
    torch.testing.assert_close(y, reference(expected, weight, 0.0))
    assert torch.equal(rstd, rms_norm(expected, weight, EPSILON)[1])


def test_a_row_knows_nothing_of_its_neighbours():
    x, dy, weight = normal(1, 9, 40), normal(2, 9, 40), normal(3, 40)
    y, rstd = rms_norm(x, weight, EPSILON)
    dx = rms_norm_backward(dy, x, weight, rstd)
    x[4] = dy[4] = float("nan")
    beside, beside_rstd = rms_norm(x, weight, EPSILON)
    dx_beside = rms_norm_backward(dy, x, weight, beside_rstd)
    others = [row for row in range(9) if row != 4]
    assert torch.equal(y[others], beside[others])
    assert torch.equal(dx[others], dx_beside[others])
