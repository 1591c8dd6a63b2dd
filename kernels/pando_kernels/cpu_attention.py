"""Causal attention of one sequence on a CPU, in blocks of queries, forward and backward by hand.

A block of queries meets only the keys up to its own end, so about half of a long sequence's scores
are never computed; grouped heads share their keys without copies. Probabilities are computed again
in the backward pass instead of being kept. Short sequences go to torch's flash kernel, which has
less to start.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_BLOCK = 64
#: Below this length torch's own kernel is faster.
_SHORT = 192


@cache
def _future(groups: int, size: int, dtype: torch.dtype) -> Tensor:
    """[groups * size, size]: -inf where a block's query would see a later key of its block."""
    mask = torch.full((size, size), float("-inf"), dtype=dtype).triu(1)
    return mask.repeat(groups, 1)


def _probabilities(q: Tensor, k: Tensor, groups: int, size: int) -> Tensor:
    """q [H_kv, groups * size, D] (scaled), k [H_kv, n, D] -> [H_kv, groups * size, n]."""
    scores = torch.bmm(q, k.transpose(1, 2))
    scores[:, :, -size:] += _future(groups, size, scores.dtype)
    return torch.softmax(scores, -1)


def _fold(block: Tensor, kv_heads: int) -> Tensor:
    """[H, size, D] -> [H_kv, groups * size, D]: the heads that share keys, one below the other."""
    return block.reshape(kv_heads, -1, block.shape[2])


def forward(q: Tensor, k: Tensor, v: Tensor, out: Tensor, scale: float) -> Tensor | None:
    """q, out [H, L, D]; k, v [H_kv, L, D]. Writes `out`; returns what `backward` wants back."""
    heads, length, _ = q.shape
    kv_heads = k.shape[0]
    if length < _SHORT:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        made, statistics = flash(q[None], k[None], v[None], 0.0, True, scale=scale)
        out.copy_(made[0])
        kept: Tensor = statistics
        return kept
    q = q * scale
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        p = _probabilities(
            _fold(q[:, start:stop], kv_heads), k[:, :stop], heads // kv_heads, stop - start
        )
        out[:, start:stop] = torch.bmm(p, v[:, :stop]).view(heads, stop - start, -1)
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
    kv_heads = k.shape[0]
    q = q * scale
    dq = grads[0]
    dk, dv = torch.zeros_like(k), torch.zeros_like(v)
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        keys, values = k[:, :stop], v[:, :stop]
        q_block = _fold(q[:, start:stop], kv_heads)
        do_block = _fold(dout[:, start:stop], kv_heads)
        p = _probabilities(q_block, keys, heads // kv_heads, stop - start)
        dv[:, :stop].baddbmm_(p.transpose(1, 2), do_block)
        dp = torch.bmm(do_block, values.transpose(1, 2))
        ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
        dq[:, start:stop] = torch.bmm(ds, keys).view(heads, stop - start, -1)
        dk[:, :stop].baddbmm_(ds.transpose(1, 2), q_block)
    dq *= scale
    grads[1].copy_(dk)
    grads[2].copy_(dv)
