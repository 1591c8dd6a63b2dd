"""MEFT as a dense masked formula: every key of every expert, then masks. Independent of ours."""

from __future__ import annotations

import torch
from torch import Tensor


def first(scores: Tensor, count: int) -> Tensor:
    """bool mask of each row's `count` largest numbers; of equal ones, the first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    place = torch.empty_like(order)
    place.scatter_(1, order, torch.arange(scores.shape[1]).expand_as(order))
    return place < count


def dense_meft(
    x: Tensor, keys: Tensor, values: Tensor, router: Tensor, probes: int, top_k: int
) -> Tensor:
    """x [t, d]; keys, values [E, c, d]; router [E, d] -> what the adapter adds, [t, d]."""
    experts, width, d = keys.shape
    scores = x @ router.t()  # [t, E]
    probed = first(scores.detach(), probes).repeat_interleave(width, dim=1)  # [t, M]
    products = x @ keys.reshape(experts * width, d).t()
    gated = scores.repeat_interleave(width, dim=1) * products
    kept = first(gated.detach().masked_fill(~probed, float("-inf")), top_k) & probed
    return (gated.relu() * kept) @ values.reshape(experts * width, d)
