"""A term that keeps a router from sending everyone to the same experts; off by default."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Balance:
    """Which of a segment's `count` sequences each of its tokens is in, int64 [t]; and what each
    weighs in the step's loss: one over the step's sequences."""

    sequences: Tensor
    count: int
    weight: float


def balance_gradient(scores: Tensor, experts: Tensor, balance: Balance) -> Tensor:
    """The gradient in the scores [t, E] of weight · Σ_sequences Σ_e f_e P_e.

    f_e is E / P times the share of the sequence's visits that expert e got, P_e the mean of its
    softmax score: least, 1, where all get the same (Fedus et al., 2022; for each sequence by
    itself as in DeepSeek-V3, arXiv 2412.19437, so that it does not depend on what a sequence is
    packed with). f_e is taken as a constant, as visits have no gradient.
    """
    chosen = torch.zeros_like(scores).scatter_(1, experts, 1.0)
    visits = scores.new_zeros(balance.count, scores.shape[1])
    visits.index_add_(0, balance.sequences, chosen)
    of_token = visits.index_select(0, balance.sequences)
    length = of_token.sum(1, keepdim=True) / experts.shape[1]
    share = of_token * (scores.shape[1] / experts.shape[1]) / length
    chance = scores.softmax(1)
    mean = (share * chance).sum(1, keepdim=True)
    return balance.weight * chance * (share - mean) / length
