"""What the layers of a model need to know of the microbatch that runs through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pando_kernels.dropout import RowKeys
from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.meft.balance import Balance
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.sequences import Sequences


@dataclass(frozen=True, slots=True)
class AdapterSet:
    """The adapters of all jobs that a microbatch may hold; slot i is the i-th job.

    A job's mapping goes from a module's full name to its adapter there: a `LoraLinear` or a
    `PacaLinear` at a linear layer, a `MeftLayer` at a feed-forward network. The set outlives the
    microbatch: what kernels need to find the adapters is made once for each group of linears.
    `folded`: the only job is a PaCA job, and the frozen weights contain its delta for the time.
    """

    jobs: tuple[Mapping[str, Any], ...]
    folded: bool = False
    _groups: dict[tuple[str, ...], GroupAdapters | None] = field(default_factory=dict, repr=False)

    def group(
        self, names: tuple[str, ...], widths: tuple[int, ...], site: int
    ) -> GroupAdapters | None:
        """All jobs' adapters at linears that read the same input; None if there are none."""
        if names not in self._groups:
            slots = tuple(_slot(job, names) for job in self.jobs)
            empty = all(slot is None for slot in slots)
            self._groups[names] = None if empty else GroupAdapters(slots, widths, site)
        return self._groups[names]

    def touches(self, names: Sequence[str]) -> bool:
        """Whether any job has an adapter at any of these modules."""
        return any(name in job for job in self.jobs for name in names)


def _slot(job: Mapping[str, Any], names: tuple[str, ...]) -> SlotAdapter | None:
    members = tuple(job.get(name) for name in names)
    return None if all(member is None for member in members) else SlotAdapter(members)


@dataclass(frozen=True, slots=True)
class NeededRows:
    """The rows whose final hidden state anyone reads: indices int64 [n], ascending.

    `plan` is the layout of those rows alone.
    """

    rows: Tensor
    plan: Plan


@dataclass(frozen=True, slots=True)
class Plan:
    """The layout of one microbatch: segments of jobs, and sequences inside them.

    The sequences' lengths sum to the number of rows. `needed` None means all rows. `anchor` makes
    autograd record layers whose input needs no gradient. `sequence_weights` are, by segment, what
    one sequence weighs in its job's step; empty: nobody asks.
    """

    adapters: AdapterSet
    layout: SegmentLayout
    sequences: Sequences
    needed: NeededRows | None = None
    anchor: Tensor = field(default_factory=lambda: torch.zeros(0, requires_grad=True))
    sequence_weights: tuple[float, ...] = ()

    def parts(self, module: str) -> list[tuple[slice, Any]]:
        """The segments that have an adapter at this module, and the adapter."""
        found = ((rows, self.adapters.jobs[slot].get(module)) for rows, slot in self.layout.parts())
        return [(rows, adapter) for rows, adapter in found if adapter is not None]

    def balance(self, rows: slice) -> Balance | None:
        """The sequences of one segment's rows, and their weight; None where nobody asked."""
        segments = zip(pairwise(self.layout.starts), self.sequence_weights, strict=False)
        for (start, stop), weight in segments:
            if (start, stop) == (rows.start, rows.stop):
                first, count = self.sequences.between(start, stop)
                return Balance(self.sequences.of_row[rows] - first, count, weight)
        return None


def make_plan(
    segments: Sequence[tuple[int, Mapping[str, Any]]],
    lengths: Sequence[int] | None = None,
    keys: RowKeys | None = None,
    device: torch.device | str = "cpu",
) -> Plan:
    """A plan of its own set of adapters: (rows, adapters) of each segment, in order.

    Without `lengths`, each segment is one sequence.
    """
    starts = [0]
    for rows, _ in segments:
        starts.append(starts[-1] + rows)
    layout = SegmentLayout(tuple(starts), tuple(range(len(segments))), torch.device(device), keys)
    sequences = tuple(rows for rows, _ in segments) if lengths is None else tuple(lengths)
    return Plan(
        AdapterSet(tuple(adapters for _, adapters in segments)),
        layout,
        Sequences(sequences, layout.device),
    )


_current: ContextVar[Plan | None] = ContextVar("pando_plan", default=None)


def current_plan() -> Plan | None:
    """The plan that layers run under, or None outside `planned`."""
    return _current.get()


@contextmanager
def planned(plan: Plan) -> Iterator[Plan]:
    """Run a model's forward under a plan."""
    token = _current.set(plan)
    try:
        yield plan
    finally:
        _current.reset(token)
