"""The rotation is transformers' own; its inverse undoes it and is its gradient."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from pando_kernels.rope import rope_


def rotation(positions, d, dtype=torch.float64):
    """transformers' cos and sin [1, T, D]."""
    config = LlamaConfig(hidden_size=2 * d, num_attention_heads=2, head_dim=d)
    module = LlamaRotaryEmbedding(config)
    return module(torch.empty(0, dtype=dtype), positions[None])


def halves(cos, sin):
    """The first halves [T, D / 2] of what transformers returns."""
    d = cos.shape[-1]
    return cos[0, :, : d // 2], sin[0, :, : d // 2]


POSITIONS = torch.tensor([0, 1, 2, 0, 1, 4000, 17])


@pytest.mark.parametrize("d", [2, 6, 64])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_what_transformers_computes(dtype, d):
    cos, sin = rotation(POSITIONS, d, dtype)
    q, k = normal(1, 7, 3, d, dtype=dtype), normal(2, 7, 2, d, dtype=dtype)
    expected = apply_rotary_pos_emb(q[None], k[None], cos, sin, unsqueeze_dim=2)
    qk = torch.cat((q, k), 1)
    rope_(qk, *halves(cos, sin))
    torch.testing.assert_close(
        qk, torch.cat(expected, 2)[0], rtol=torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps
    )


def test_a_view_into_qkv_is_rotated_and_the_rest_left():
    qkv = normal(1, 7, 6 * 8)
    whole = qkv.clone()
    angles = halves(*rotation(POSITIONS, 8))
    rope_(qkv.view(7, 6, 8)[:, :4], *angles)
    assert torch.equal(qkv[:, 32:], whole[:, 32:])
    alone = whole[:, :32].reshape(7, 4, 8)
    rope_(alone, *angles)
    assert torch.equal(qkv[:, :32], alone.view(7, 32))


def test_the_inverse_turns_back():
    x = normal(1, 7, 3, 16)
    kept = x.clone()
    angles = halves(*rotation(POSITIONS, 16))
    rope_(x, *angles)
    rope_(x, *angles, inverse=True)
    torch.testing.assert_close(x, kept)


def test_the_inverse_is_the_gradient_also_of_a_scaled_rotation():
    cos, sin = (1.3 * part for part in rotation(POSITIONS, 16))
    x, dy = normal(1, 7, 3, 16).requires_grad_(), normal(2, 7, 3, 16)
    rotated, _ = apply_rotary_pos_emb(x[None], x[None], cos, sin, unsqueeze_dim=2)
    rotated[0].backward(dy)
    rope_(dy, *halves(cos, sin), inverse=True)
    torch.testing.assert_close(dy, x.grad)
