"""The mended interpreter computes bf16 as a GPU does: fp32 products of exact inputs, rounded."""

from __future__ import annotations

import os

import pytest
import torch
import triton
import triton.language as tl

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="kernels are compiled here"
)


@triton.jit
def multiply(x, w, y, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    product = tl.dot(tl.load(x + at), tl.load(w + at))
    tl.store(y + at, product.to(tl.bfloat16))


@triton.jit
def double(x, N: tl.constexpr):
    at = x + tl.arange(0, N)
    value = tl.load(at)
    tl.store(at, value + value)


def test_a_product_of_bf16_is_rounded_to_nearest_even(device):
    rng = torch.Generator().manual_seed(1)
    x, w = torch.randn(2, 16, 16, generator=rng).bfloat16().to(device)
    y = torch.empty_like(x)
    multiply[(1,)](x, w, y, 16)
    exact = x.double() @ w.double()
    torch.testing.assert_close(y, exact.float().to(torch.bfloat16), rtol=2**-8, atol=0)


@interpreted
def test_arithmetic_in_bf16_is_refused(device):
    with pytest.raises(Exception, match="arithmetic in bf16"):
        double[(1,)](torch.ones(16, dtype=torch.bfloat16), 16)
