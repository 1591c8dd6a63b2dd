"""Laying several jobs' sequences out one behind the other, as tensors and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pando_kernels.dropout import RowKeys
from pando_kernels.plan import AdapterSet, NeededRows, Plan
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.sequences import Sequences
from pando_kernels.transfer import to_device

TokensAndTargets = tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Share:
    """One job's part of a microbatch: its slot in the set of adapters, its sequences, and a
    target's loss weight. `dropout_keys` are the sequences' 64-bit keys; None: no dropout.
    `sequence_weight` is what one sequence weighs in terms that are means over sequences.
    """

    slot: int
    sequences: Sequence[TokensAndTargets]
    target_weight: float
    dropout_keys: Sequence[int] | None = None
    sequence_weight: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(len(tokens) for tokens, _ in self.sequences)


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """T tokens of all shares, of which n predict a target.

    ids, positions int64 [T]; labels int64 [n], predicted from the plan's needed rows; weights fp32
    [n]. `counts` are the shares' numbers of targets, which sum to n.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor
    counts: tuple[int, ...]
    plan: Plan


def pack_shares(shares: Sequence[Share], adapters: AdapterSet, device: torch.device) -> PackedBatch:
    """Pack without padding. Position i - 1 predicts token i where `targets[i]` holds."""
    sequences = [sequence for share in shares for sequence in share.sequences]
    lengths = [len(tokens) for tokens, _ in sequences]
    found = [np.flatnonzero(targets) for _, targets in sequences]
    targets_of = [len(at) for at in found]
    first = np.cumsum([0, *(len(share.sequences) for share in shares)])
    starts, needed_starts = np.cumsum([0, *lengths]), np.cumsum([0, *targets_of])
    counts = np.diff(needed_starts[first])

    def tensor(parts: Sequence[NDArray[np.integer[Any]]]) -> Tensor:
        return to_device(torch.from_numpy(np.concatenate(parts).astype(np.int64)), device)

    rows = tensor([at + (begin - 1) for at, begin in zip(found, starts[:-1], strict=True)])
    positions = tensor([np.arange(length) for length in lengths])
    keys = None
    if any(share.dropout_keys is not None for share in shares):
        each = [key for s in shares for key in s.dropout_keys or [0] * len(s.sequences)]
        keys = RowKeys(tensor([np.repeat(np.array(each, np.int64), lengths)]), positions)
    slots = tuple(share.slot for share in shares)
    sequence_weights = tuple(share.sequence_weight for share in shares)

    def layout(starts: NDArray[np.integer[Any]], keys: RowKeys | None) -> SegmentLayout:
        return SegmentLayout(tuple(starts[first].tolist()), slots, device, keys)

    needed = Plan(
        adapters,
        layout(needed_starts, None if keys is None else keys.rows(rows)),
        Sequences(tuple(targets_of), device),
        sequence_weights=sequence_weights,
    )
    weights = np.repeat([share.target_weight for share in shares], counts).astype(np.float32)
    return PackedBatch(
        ids=tensor([tokens for tokens, _ in sequences]),
        positions=positions,
        labels=tensor([tokens[at] for (tokens, _), at in zip(sequences, found, strict=True)]),
        weights=to_device(torch.from_numpy(weights), device),
        counts=tuple(counts.tolist()),
        plan=Plan(
            adapters,
            layout(starts, keys),
            Sequences(tuple(lengths), device),
            NeededRows(rows, needed),
            sequence_weights=sequence_weights,
        ),
    )
