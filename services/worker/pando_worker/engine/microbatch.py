"""One fused pass over a packed microbatch: forward, losses, backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pando_kernels.frozen_head import frozen_head_loss
from pando_kernels.plan import AdapterSet
from pando_shared.memory import logits_rows
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.decoder import Tape
from pando_worker.engine.packed_batch import Share, pack_shares


@dataclass(frozen=True, slots=True)
class Result:
    """Sums over one share's target tokens."""

    loss: float
    hits: int
    targets: int


def run_microbatch(
    base: BaseModel, adapters: AdapterSet, shares: Sequence[Share], train: bool
) -> list[Result]:
    """Forward all shares packed together; with `train`, add to each adapter's gradient.

    A job's gradient is that of `target_weight` · Σ loss over its own target tokens.
    """
    batch = pack_shares(shares, adapters, base.device)
    tape: Tape | None = None
    if train:
        hidden, tape = base.decoder.train(batch.ids, batch.positions, batch.plan)
    else:
        with torch.no_grad():
            hidden = base.decoder.evaluate(batch.ids, batch.positions, batch.plan)
    with torch.no_grad():
        losses, hits, d_hidden = frozen_head_loss(
            hidden,
            batch.labels,
            batch.weights if train else None,
            base.head,
            chunk=logits_rows(base.head.weight.shape[0], base.dtype.itemsize),
        )
    if tape is not None and d_hidden is not None:
        tape.backward(d_hidden)
    sums = [
        torch.stack([loss.sum(dtype=torch.float64), hit.sum(dtype=torch.float64)])
        for loss, hit in zip(losses.split(batch.counts), hits.split(batch.counts), strict=True)
    ]
    # One copy from the device, behind the backward pass: asking earlier would make it wait.
    return [
        Result(loss, int(hit), count)
        for (loss, hit), count in zip(torch.stack(sums).tolist(), batch.counts, strict=True)
    ]
