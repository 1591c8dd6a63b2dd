"""Causal attention over a packed microbatch: each sequence sees itself alone, without padding."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class _CpuFlash(Function):
    """One autograd node a layer, whatever the number of sequences; flash attention on each."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], scale: float
    ) -> Tensor:
        """q [1, H, T, D], k and v [1, H_kv, T, D] -> [1, T, H, D]."""
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out = torch.empty_strided(
            q.shape,
            (q.shape[1] * q.shape[2] * q.shape[3], q.shape[3], q.shape[1] * q.shape[3], 1),
            dtype=q.dtype,
        )  # laid out [1, T, H, D], seen as [1, H, T, D]
        statistics = []
        pieces = zip(*(t.split(lengths, 2) for t in (q, k, v, out)), strict=True)
        for q_i, k_i, v_i, out_i in pieces:
            o_i, lse = flash(q_i, k_i, v_i, 0.0, True, scale=scale)
            out_i.copy_(o_i)
            statistics.append(lse)
        ctx.save_for_backward(q, k, v, out, *statistics)
        ctx.lengths, ctx.scale = lengths, scale
        return out.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        q, k, v, out, *statistics = ctx.saved_tensors
        dout = gradients[0].transpose(1, 2)  # [1, H, T, D]
        grads = tuple(torch.empty_like(t) for t in (q, k, v))
        split = (t.split(ctx.lengths, 2) for t in (dout, q, k, v, out, *grads))
        for lse, (do, q_i, k_i, v_i, o_i, dq, dk, dv) in zip(
            statistics, zip(*split, strict=True), strict=True
        ):
            made = flash(do, q_i, k_i, v_i, o_i, lse, 0.0, True, scale=ctx.scale)
            for target, value in zip((dq, dk, dv), made, strict=True):
                target.copy_(value)
        return (*grads, None, None)


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
        return cast(Tensor, _CpuFlash.apply(q, k, v, lengths, scale))  # type: ignore[no-untyped-call]
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
