"""`ExpertOps` in plain torch: what runs on a CPU, and what Triton is held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits


@dataclass(frozen=True, slots=True)
class _Crowd:
    """One expert's visits: its block, the visits int64 [n], and their tokens int64 [n]."""

    block: int
    visits: Tensor
    tokens: Tensor


def _crowds(blocks: Blocks, visits: Visits) -> Iterator[_Crowd]:
    """Experts at hand that somebody visits."""
    starts = visits.starts.tolist()
    where = None if blocks.where is None else blocks.where.tolist()
    tokens = visits.order // visits.probes
    for e, (start, stop) in enumerate(pairwise(starts)):
        block = e if where is None else where[e]
        if start < stop and block >= 0:
            yield _Crowd(block, visits.order[start:stop], tokens[start:stop])


def lookup(x: Tensor, blocks: Blocks, visits: Visits, out: Tensor) -> None:
    flat = out.view(-1, out.shape[2])
    for crowd in _crowds(blocks, visits):
        products = torch.mm(x.index_select(0, crowd.tokens), blocks.table[crowd.block].t())
        flat.index_copy_(0, crowd.visits, products.to(out.dtype))


def select(products: Tensor, gates: Tensor, top_k: int) -> Tensor:
    flat = (products * gates[:, :, None]).flatten(1)
    if top_k < flat.shape[1]:
        least = flat.topk(top_k, dim=1, sorted=True).values[:, -1:].clamp(min=0.0)
        kept = ~(flat < least)  # a NaN is kept, to be found
        if bool((kept.sum(1) > top_k).any()):
            above, level = ~(flat <= least), flat == least
            room = top_k - above.sum(1, keepdim=True)
            kept = above | (level & (level.cumsum(1) <= room))
        flat = flat.where(kept, 0.0)
    return flat.clamp_(min=0.0).view_as(products)


def unselect(d_activations: Tensor, activations: Tensor, products: Tensor, gates: Tensor) -> Tensor:
    d_gated = d_activations.where(activations > 0, 0.0)
    torch.mul(d_gated, gates[:, :, None], out=d_activations)
    return d_gated.mul_(products).sum(2)


def combine(weights: Tensor, blocks: Blocks, visits: Visits, y: Tensor) -> None:
    flat = weights.view(-1, weights.shape[2]).to(blocks.table.dtype)
    for crowd in _crowds(blocks, visits):
        sums = torch.mm(flat.index_select(0, crowd.visits), blocks.table[crowd.block])
        y.index_add_(0, crowd.tokens, sums.to(y.dtype))


def weigh(weights: Tensor, x: Tensor, visits: Visits, gradient: Blocks) -> None:
    flat = weights.view(-1, weights.shape[2])
    for crowd in _crowds(gradient, visits):
        rows = x.index_select(0, crowd.tokens).to(gradient.table.dtype)
        gradient.table[crowd.block].addmm_(flat.index_select(0, crowd.visits).t(), rows)
