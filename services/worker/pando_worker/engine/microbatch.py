"""One fused pass over a packed microbatch: forward, losses, backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pando_kernels.frozen_head import frozen_head_loss
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.packed_batch import Share, pack_shares

#: The output layer's logits exist for this many numbers at a time (fp32, so 4 bytes each).
_LOGITS_AT_ONCE = 4 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """Sums over one share's target tokens."""

    loss: float
    hits: int
    targets: int


def run_microbatch(base: BaseModel, shares: Sequence[Share], train: bool) -> list[Result]:
    """Forward all shares packed together; with `train`, add to each adapter's gradient.

    A job's gradient is that of `target_weight` · Σ loss over its own target tokens.
    """
    batch = pack_shares(shares, base.device)
    with torch.set_grad_enabled(train):
        hidden = base.hidden_states(batch.ids, batch.positions, batch.plan)
    with torch.no_grad():
        losses, hits, d_rows = frozen_head_loss(
            hidden.detach().index_select(0, batch.rows),
            batch.labels,
            batch.weights if train else None,
            base.head,
            chunk=max(16, _LOGITS_AT_ONCE // base.head.weight.shape[0]),
        )
    if d_rows is not None and hidden.requires_grad:
        d_hidden = torch.zeros_like(hidden)
        d_hidden.index_copy_(0, batch.rows, d_rows)
        hidden.backward(d_hidden)
    loss_sums = [float(part.sum(dtype=torch.float64)) for part in losses.split(batch.counts)]
    hit_sums = [int(part.sum()) for part in hits.split(batch.counts)]
    return [
        Result(loss, hit, count)
        for loss, hit, count in zip(loss_sums, hit_sums, batch.counts, strict=True)
    ]
