"""Causal attention of one sequence on a CPU, forward and backward by hand.

Wide heads and short sequences go to torch's flash kernel. With narrow heads that one is slow, as
its products have results [L, D], and a result of few columns comes at a quarter of the speed of one
with few rows. So there everything narrow is held with its tokens last, [D, L], and blocks of
queries meet only the keys up to their own end: half of the scores are never computed. Grouped heads
share their keys, and probabilities are computed again in the backward pass instead of being kept.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_BLOCK = 64
#: From this width on, and below this length, torch's own kernel is as fast or faster.
_WIDE = 32
_SHORT = 128


@cache
def _future(groups: int, size: int, dtype: torch.dtype) -> Tensor:
    """[groups * size, size]: -inf where a block's query would see a later key of its block."""
    mask = torch.full((size, size), float("-inf"), dtype=dtype).triu(1)
    return mask.repeat(groups, 1)


def _tokens_last(x: Tensor) -> Tensor:
    """[H, L, D] -> [H, D, L] in memory of its own."""
    return x.transpose(1, 2).contiguous()


def _block_of(x: Tensor, kv_heads: int, start: int, stop: int) -> Tensor:
    """[H, D, L] -> [H_kv, D, groups * size]: the heads that share keys, side by side."""
    heads, width, _ = x.shape
    block = x[:, :, start:stop].view(kv_heads, heads // kv_heads, width, -1)
    return block.transpose(1, 2).reshape(kv_heads, width, -1)


def _unblocked(block: Tensor, heads: int) -> Tensor:
    """The reverse: [H_kv, D, groups * size] -> [H, size, D]."""
    kv_heads, width, _ = block.shape
    apart = block.view(kv_heads, width, heads // kv_heads, -1)
    return apart.permute(0, 2, 3, 1).reshape(heads, -1, width)


def _probabilities(q: Tensor, k: Tensor, size: int) -> Tensor:
    """q [H_kv, D, groups * size] (scaled), k [H_kv, D, n] -> [H_kv, groups * size, n]."""
    scores = torch.bmm(q.transpose(1, 2), k)
    scores[:, :, -size:] += _future(q.shape[2] // size, size, scores.dtype)
    return torch.softmax(scores, -1)


def forward(q: Tensor, k: Tensor, v: Tensor, out: Tensor, scale: float) -> Tensor | None:
    """q, out [H, L, D]; k, v [H_kv, L, D]. Writes `out`; returns what `backward` wants back."""
    heads, length, width = q.shape
    if width >= _WIDE or length < _SHORT:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        made, statistics = flash(q[None], k[None], v[None], 0.0, True, scale=scale)
        out.copy_(made[0])
        kept: Tensor = statistics
        return kept
    q, k, v = _tokens_last(q).mul_(scale), _tokens_last(k), _tokens_last(v)
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        q_block = _block_of(q, k.shape[0], start, stop)
        p = _probabilities(q_block, k[:, :, :stop], stop - start)
        mixed = torch.bmm(v[:, :, :stop], p.transpose(1, 2))
        out[:, start:stop] = _unblocked(mixed, heads)
    return None


def backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    kept: Tensor | None,
    grads: tuple[Tensor, Tensor, Tensor],
    scale: float,
) -> None:
    """Write d(q) [H, L, D], d(k) and d(v) [H_kv, L, D] into `grads`."""
    if kept is not None:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        made = flash(dout[None], q[None], k[None], v[None], out[None], kept, 0.0, True, scale=scale)
        for target, value in zip(grads, made, strict=True):
            target.copy_(value[0])
        return
    heads, length, _ = q.shape
    q, k, v, dout = (
        _tokens_last(q).mul_(scale),
        _tokens_last(k),
        _tokens_last(v),
        _tokens_last(dout),
    )
    kv_heads = k.shape[0]
    dq, dk, dv = grads[0], torch.zeros_like(k), torch.zeros_like(v)
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        keys, values = k[:, :, :stop], v[:, :, :stop]
        q_block = _block_of(q, kv_heads, start, stop)
        do_block = _block_of(dout, kv_heads, start, stop)
        p = _probabilities(q_block, keys, stop - start)
        dv[:, :, :stop].baddbmm_(do_block, p)
        dp = torch.bmm(do_block.transpose(1, 2), values)
        ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
        dq_block = torch.bmm(keys, ds.transpose(1, 2))
        dq[:, start:stop] = _unblocked(dq_block, heads).mul_(scale)
        dk[:, :, :stop].baddbmm_(q_block, ds)
    grads[1].copy_(dk.transpose(1, 2))
    grads[2].copy_(dv.transpose(1, 2))
