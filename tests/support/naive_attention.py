"""Causal attention sequence by sequence, row by row, head by head. Independent of ours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pando_kernels.packed_attention import AttentionRule


def naive(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], rule: AttentionRule) -> Tensor:
    """q [T, H, D], k and v [T, H_kv, D] -> [T, H, D], for autograd."""
    group = q.shape[1] // k.shape[1]
    rows, start = [], 0
    for length in lengths:
        for t in range(start, start + length):
            first = start if rule.window is None else max(start, t - rule.window + 1)
            heads = []
            for h in range(q.shape[1]):
                scores = k[first : t + 1, h // group] @ q[t, h] * rule.scale
                if rule.softcap:
                    scores = rule.softcap * torch.tanh(scores / rule.softcap)
                heads.append(scores.softmax(0) @ v[first : t + 1, h // group])
            rows.append(torch.stack(heads))
        start += length
    return torch.stack(rows)


def naive_gradients(
    q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], rule: AttentionRule, dout: Tensor
) -> tuple[Tensor, ...]:
    """(out, dq, dk, dv) in fp64."""
    leaves = [t.detach().to(torch.float64, copy=True).requires_grad_() for t in (q, k, v)]
    out = naive(*leaves, lengths, rule)
    return out.detach(), *torch.autograd.grad(out, leaves, dout.double())
