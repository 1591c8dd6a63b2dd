"""One fused pass over a packed microbatch: forward, losses, backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pando_kernels.dropout import SequenceDropout
from pando_kernels.frozen_head import frozen_head_loss
from pando_kernels.plan import Plan, Segment
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.base_model import BaseModel

TokensAndTargets = tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]

#: The output layer's logits exist for this many numbers at a time (fp32, so 4 bytes each).
_LOGITS_AT_ONCE = 4 << 20


@dataclass(frozen=True, slots=True)
class Share:
    """One job's part of a microbatch: its adapter, its sequences, and a target's loss weight."""

    adapter: Adapter | None
    sequences: Sequence[TokensAndTargets]
    target_weight: float
    dropout: SequenceDropout | None


@dataclass(frozen=True, slots=True)
class Result:
    """Sums over one share's target tokens."""

    loss: float
    hits: int
    targets: int


def run_microbatch(base: BaseModel, shares: Sequence[Share], train: bool) -> list[Result]:
    """Forward all shares packed together; with `train`, add to each adapter's gradient.

    A job's gradient is that of `target_weight` · Σ loss over its own target tokens. Labels are the
    tokens themselves: position i - 1 predicts token i where `targets[i]` holds.
    """
    ids, positions, lengths, segments = [], [], [], []
    rows, labels, counts = [], [], []
    start = 0
    for share in shares:
        first, count = start, 0
        for tokens, targets in share.sequences:
            at = np.flatnonzero(targets)
            rows.append(at + (start - 1))
            labels.append(tokens[at])
            count += len(at)
            ids.append(tokens)
            positions.append(np.arange(len(tokens)))
            lengths.append(len(tokens))
            start += len(tokens)
        layers = share.adapter.layers if share.adapter is not None else {}
        segments.append(Segment(first, start, layers, share.dropout))
        counts.append(count)
    plan = Plan(tuple(segments), tuple(lengths))
    device = base.device

    def tensor(parts: Sequence[NDArray[np.integer[Any]]]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)

    with torch.set_grad_enabled(train):
        hidden = base.hidden_states(tensor(ids), tensor(positions), plan)
    at_rows = tensor(rows)
    weights = None
    if train:
        per_share = torch.tensor([share.target_weight for share in shares], device=device)
        weights = per_share.repeat_interleave(torch.tensor(counts, device=device))
    with torch.no_grad():
        losses, hits, d_rows = frozen_head_loss(
            hidden.detach().index_select(0, at_rows),
            tensor(labels),
            weights,
            base.head,
            chunk=max(16, _LOGITS_AT_ONCE // base.head.weight.shape[0]),
        )
    if d_rows is not None and hidden.requires_grad:
        d_hidden = torch.zeros_like(hidden)
        d_hidden.index_copy_(0, at_rows, d_rows)
        hidden.backward(d_hidden)
    loss_sums = [float(part.sum(dtype=torch.float64)) for part in losses.split(counts)]
    hit_sums = [int(part.sum()) for part in hits.split(counts)]
    return [
        Result(loss, hit, count)
        for loss, hit, count in zip(loss_sums, hit_sums, counts, strict=True)
    ]
