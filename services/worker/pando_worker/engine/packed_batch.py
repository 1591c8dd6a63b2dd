"""Laying several jobs' sequences out one behind the other, as tensors and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pando_kernels.dropout import SequenceDropout
from pando_kernels.plan import NeededRows, Plan, Segment
from pando_worker.engine.adapters import Adapter

TokensAndTargets = tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Share:
    """One job's part of a microbatch: its adapter, its sequences, and a target's loss weight."""

    adapter: Adapter | None
    sequences: Sequence[TokensAndTargets]
    target_weight: float
    dropout: SequenceDropout | None


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """T tokens of all shares, of which n predict a target.

    ids, positions int64 [T]; rows int64 [n], where the predictions are made; labels int64 [n];
    weights fp32 [n]. `counts` are the shares' numbers of targets, which sum to n.
    """

    ids: Tensor
    positions: Tensor
    rows: Tensor
    labels: Tensor
    weights: Tensor
    counts: tuple[int, ...]
    plan: Plan


def pack_shares(shares: Sequence[Share], device: torch.device) -> PackedBatch:
    """Pack without padding. Position i - 1 predicts token i where `targets[i]` holds."""
    sequences = [sequence for share in shares for sequence in share.sequences]
    lengths = [len(tokens) for tokens, _ in sequences]
    starts = np.cumsum([0, *lengths])
    found = [np.flatnonzero(targets) for _, targets in sequences]
    targets_of = [len(at) for at in found]

    segments, needed, counts = [], [], []
    first = start = needed_start = 0
    for share in shares:
        last = first + len(share.sequences)
        stop, here = int(starts[last]), targets_of[first:last]
        layers = share.adapter.layers if share.adapter is not None else {}
        segments.append(Segment(start, stop, layers, share.dropout))
        thinned = share.dropout.thinned(here) if share.dropout is not None else None
        needed.append(Segment(needed_start, needed_start + sum(here), layers, thinned))
        counts.append(sum(here))
        first, start, needed_start = last, stop, needed_start + sum(here)

    def tensor(parts: Sequence[NDArray[np.integer[Any]]]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)

    rows = tensor([at + (begin - 1) for at, begin in zip(found, starts[:-1], strict=True)])
    weights = torch.tensor([share.target_weight for share in shares], device=device)
    return PackedBatch(
        ids=tensor([tokens for tokens, _ in sequences]),
        positions=tensor([np.arange(length) for length in lengths]),
        rows=rows,
        labels=tensor([tokens[at] for (tokens, _), at in zip(sequences, found, strict=True)]),
        weights=weights.repeat_interleave(torch.tensor(counts, device=device)),
        counts=tuple(counts),
        plan=Plan(
            tuple(segments),
            tuple(lengths),
            NeededRows(rows, Plan(tuple(needed), tuple(targets_of))),
        ),
    )
