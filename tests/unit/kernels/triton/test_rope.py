"""The rotation's kernel against transformers' own, in views of any strides."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from pando_kernels.backend import always_triton
from pando_kernels.rope import rope_

#: (rows, heads, width of a head)
SHAPES = [(1, 1, 2), (5, 3, 6), (7, 40, 64), (2, 9, 256)]


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


def angles(tokens, d, dtype, device):
    """cos and sin [T, D], with equal halves."""
    angle = normal(9, tokens, d // 2).repeat(1, 2) * 3
    return angle.cos().to(device, dtype), angle.sin().to(device, dtype)


def rotated(x, cos, sin):
    """transformers' rotation of x [T, H, D], in fp64."""
    wide = x.double()[None]
    first, _ = apply_rotary_pos_emb(wide, wide, cos.double()[None], sin.double()[None], 2)
    return first[0]


@pytest.mark.parametrize(("tokens", "heads", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_is_what_transformers_computes(device, dtype, tokens, heads, d):
    x = normal(1, tokens, heads, d, dtype=dtype).to(device)
    cos, sin = angles(tokens, d, dtype, device)
    expected = rotated(x, cos, sin)
    rope_(x, cos[:, : d // 2], sin[:, : d // 2])
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(x.double(), expected, rtol=step, atol=step)


@pytest.mark.parametrize("layout", ["part of qkv", "heads first", "width first"])
def test_a_view_is_rotated_and_the_rest_left(device, layout):
    tokens, heads, d = 7, 4, 16
    cos, sin = angles(tokens, d, torch.float32, device)
    match layout:
        case "part of qkv":
            whole = normal(1, tokens, 6, d, dtype=torch.float32).to(device)
            view, rest = whole[:, 1:5], whole[:, [0, 5]]
        case "heads first":
            whole = normal(1, 5, tokens, d, dtype=torch.float32).to(device)
            view, rest = whole[:4].transpose(0, 1), whole[4:]
        case _:
            whole = normal(1, d, heads, tokens + 1, dtype=torch.float32).to(device)
            view, rest = whole[:, :, 1:].permute(2, 1, 0), whole[:, :, :1]
    kept, expected = rest.clone(), view.contiguous()
    rope_(view, cos[:, : d // 2], sin[:, : d // 2])
    rope_(expected, cos[:, : d // 2].contiguous(), sin[:, : d // 2].contiguous())
    assert torch.equal(view, expected)
    after = whole[:, [0, 5]] if layout == "part of qkv" else rest
    assert torch.equal(after, kept)


def test_the_inverse_is_the_gradient(device):
    x = normal(1, 7, 3, 16).requires_grad_()
    dy = normal(2, 7, 3, 16)
    cos, sin = (1.3 * part for part in angles(7, 16, torch.float64, "cpu"))
    rotated(x, cos, sin).backward(dy)
    gradient = dy.float().to(device)
    cos, sin = (part[:, :8].float().to(device) for part in (cos, sin))
    rope_(gradient, cos, sin, inverse=True)
    torch.testing.assert_close(gradient.double().cpu(), x.grad, rtol=1e-6, atol=1e-6)


def test_a_row_knows_nothing_of_its_neighbours(device):
    x = normal(1, 5, 3, 16, dtype=torch.float32).to(device)
    poisoned = x.clone()
    poisoned[2] = float("nan")
    cos, sin = (part[:, :8] for part in angles(5, 16, torch.float32, device))
    for each in (x, poisoned):
        rope_(each, cos, sin)
    others = [0, 1, 3, 4]
    assert torch.equal(x[others], poisoned[others])
