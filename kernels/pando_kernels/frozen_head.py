"""Cross-entropy through a frozen output layer, in chunks, with its gradient made on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.cross_entropy import cross_entropy_


@dataclass(frozen=True, slots=True)
class FrozenHead:
    """The output layer: weight [V, d], bias [V] or None, and Gemma's logit soft-cap (0: none)."""

    weight: Tensor
    bias: Tensor | None = None
    softcap: float = 0.0

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [n, d] -> fp32 logits [n, V]."""
        logits = self.product(hidden).float()
        if self.softcap:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits

    def product(self, hidden: Tensor) -> Tensor:
        """hidden [n, d] -> [n, V] of the weight's type, without the soft-cap."""
        if self.bias is None:
            return torch.mm(hidden, self.weight.t())
        return torch.addmm(self.bias, hidden, self.weight.t())


def frozen_head_loss(
    hidden: Tensor, labels: Tensor, weights: Tensor | None, head: FrozenHead, chunk: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss per token and, if `weights` is given, the gradient of Σ weights · loss.

    Args:
        hidden: [n, d], the rows that predict something.
        labels: int64 [n].
        weights: fp32 [n], each token's share in its job's loss, or None for evaluation.
        chunk: rows whose logits exist at a time.

    Returns:
        losses fp32 [n]; hits bool [n], whether the label was the likeliest token; d(hidden) [n, d].
    """
    n = hidden.shape[0]
    losses = torch.empty(n, dtype=torch.float32, device=hidden.device)
    hits = torch.empty(n, dtype=torch.bool, device=hidden.device)
    gradient = torch.empty_like(hidden) if weights is not None else None
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        losses[rows], hits[rows], d_logits = cross_entropy_(
            head.product(hidden[rows]),
            labels[rows],
            None if weights is None else weights[rows],
            head.softcap,
        )
        if gradient is not None and d_logits is not None:
            torch.mm(d_logits, head.weight, out=gradient[rows])
    return losses, hits, gradient
