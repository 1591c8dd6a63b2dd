"""Who owns which rows of a packed microbatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from pando_kernels.dropout import SequenceDropout


class LinearAdapter(Protocol):
    """One job's adapter at one linear layer. Rows are the job's own: [t, in] or [t, out]."""

    #: Whether `backward` reads `x`; if no adapter of a layer does, the layer need not keep it.
    needs_input: bool

    def forward(self, x: Tensor, y: Tensor, dropout: SequenceDropout | None) -> object:
        """Add the adapter's output to `y` in place; return what `backward` needs."""
        ...

    def backward(self, x: Tensor | None, dy: Tensor, dx: Tensor | None, saved: object) -> None:
        """Accumulate parameter gradients, and add to `dx` in place unless it is None."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows [start, stop) of the microbatch, all of one job.

    `adapters` maps a module's full name to the job's adapter there: a `LinearAdapter` at a linear
    layer, a `MeftLayer` at a feed-forward network. `dropout` draws the job's masks; None means
    evaluation.
    """

    start: int
    stop: int
    adapters: Mapping[str, Any]
    dropout: SequenceDropout | None = None


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

    `lengths` are the sequences' lengths in order; they sum to the number of tokens. `needed` None
    means all rows. `anchor` makes autograd record layers whose input needs no gradient.
    """

    segments: tuple[Segment, ...]
    lengths: tuple[int, ...]
    needed: NeededRows | None = None
    anchor: Tensor = field(default_factory=lambda: torch.zeros(0, requires_grad=True))

    def parts(self, module: str) -> list[tuple[Segment, Any]]:
        """The segments that have an adapter at this module."""
        found = ((segment, segment.adapters.get(module)) for segment in self.segments)
        return [(segment, adapter) for segment, adapter in found if adapter is not None]


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
