"""Causal attention over a packed microbatch: each sequence sees itself alone, without padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from pando_kernels import cpu_attention


class _CpuAttention(Function):
    """One autograd node a layer, whatever the number of sequences."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], scale: float
    ) -> Tensor:
        """q [1, H, T, D], k and v [1, H_kv, T, D] -> [1, T, H, D]."""
        _, heads, tokens, width = q.shape
        out = torch.empty((1, tokens, heads, width), dtype=q.dtype)
        pieces = _sequences(lengths, q[0], k[0], v[0], out[0].transpose(0, 1))
        ctx.kept = [
            cpu_attention.forward(q_i, k_i, v_i, o_i, scale) for q_i, k_i, v_i, o_i in pieces
        ]
        ctx.save_for_backward(q, k, v, out)
        ctx.lengths, ctx.scale = lengths, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        grads = tuple(torch.empty_like(t) for t in (q, k, v))
        inner = (gradients[0][0].transpose(0, 1), q[0], k[0], v[0], out[0].transpose(0, 1))
        pieces = _sequences(ctx.lengths, *inner, *(grad[0] for grad in grads))
        for kept, (dout, q_i, k_i, v_i, o_i, dq, dk, dv) in zip(ctx.kept, pieces, strict=True):
            cpu_attention.backward(dout, q_i, k_i, v_i, o_i, kept, (dq, dk, dv), ctx.scale)
        ctx.kept = None
        return (*grads, None, None)


def _sequences(lengths: tuple[int, ...], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut [H, T, D] tensors into the sequences' parts."""
    return zip(*(tensor.split(lengths, 1) for tensor in tensors), strict=True)


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: tuple[int, ...],
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal self-attention within each of the sequences packed along T.

    Args:
        q: [1, H, T, D]; k, v: [1, H_kv, T, D] with H a multiple of H_kv.
        lengths: the sequences' lengths, in order; they sum to T.
        scale: multiplies q·k.
        window: each token sees itself and the `window - 1` tokens before it; None: all before it.
        softcap: scores become softcap · tanh(score / softcap) (Gemma 2).

    Returns:
        [1, T, H, D].
    """
    masked = window is not None and max(lengths) > window
    if not softcap and not masked and q.device.type == "cpu" and q.shape[-1] == v.shape[-1]:
        return cast(Tensor, _CpuAttention.apply(q, k, v, lengths, scale))  # type: ignore[no-untyped-call]
    outputs = [
        _one_sequence(q_i, k_i, v_i, scale, window, softcap)
        for q_i, k_i, v_i in zip(*(t.split(lengths, 2) for t in (q, k, v)), strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _one_sequence(
    q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """q [1, H, L, D] -> [1, H, L, D]."""
    length = q.shape[2]
    gqa = q.shape[1] != k.shape[1]
    if not softcap and (window is None or length <= window):
        return functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=gqa
        )
    visible = causal_window(length, length, window, q.device)
    if not softcap:
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, scale=scale, enable_gqa=gqa
        )
    return softcapped_attention(q, k, v, visible, scale, softcap)


def causal_window(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """bool [queries, keys]: what the last `queries` of `keys` positions may see."""
    row = torch.arange(keys - queries, keys, device=device)[:, None]
    column = torch.arange(keys, device=device)[None, :]
    visible = column <= row
    return visible if window is None else visible & (column > row - window)


def softcapped_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float, softcap: float
) -> Tensor:
    """Attention with capped scores, which no fused implementation offers on every device."""
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    scores = torch.matmul(q, k.transpose(2, 3)) * scale
    scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~visible, float("-inf"))
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(v.dtype), v)
