"""Cross-entropy through a frozen output layer, in chunks, with its gradient made on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrozenHead:
    """The output layer: weight [V, d], bias [V] or None, and Gemma's logit soft-cap (0: none)."""

    weight: Tensor
    bias: Tensor | None = None
    softcap: float = 0.0

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [n, d] -> fp32 logits [n, V]."""
        if self.bias is None:
            logits = torch.mm(hidden, self.weight.t()).float()
        else:
            logits = torch.addmm(self.bias, hidden, self.weight.t()).float()
        if self.softcap:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


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
        logits = head.logits(hidden[rows])  # [c, V]
        label = labels[rows, None]
        slope = None
        if head.softcap and weights is not None:
            slope = 1.0 - (logits / head.softcap) ** 2
        logits.sub_(logits.amax(1, keepdim=True))
        at_label = logits.gather(1, label)
        total = logits.exp_().sum(1, keepdim=True)  # logits now hold exp(logit - max)
        losses[rows] = (total.log() - at_label).squeeze(1)
        hits[rows] = at_label.squeeze(1) == 0.0
        if gradient is None or weights is None:
            continue
        weight = weights[rows, None]
        logits.mul_(weight / total)
        logits.scatter_add_(1, label, -weight)
        if slope is not None:
            logits.mul_(slope)
        torch.mm(logits.to(head.weight.dtype), head.weight, out=gradient[rows])
    return losses, hits, gradient
