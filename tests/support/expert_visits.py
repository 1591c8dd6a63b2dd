"""Small sparse memories with visits, and what `ExpertOps` must make of them: dense, in fp64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numerics import normal
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits, visits_of


@dataclass(frozen=True, slots=True)
class Shape:
    """T tokens of width d look into P of E experts of c rows."""

    tokens: int
    experts: int
    probes: int
    c: int
    d: int


@dataclass(frozen=True, slots=True)
class Case:
    """x [T, d], weights [T, P, c], and the rows of the experts at hand.

    Nobody visits expert 0 if the others suffice.
    """

    shape: Shape
    x: Tensor
    weights: Tensor
    blocks: Blocks
    visits: Visits

    @property
    def at_hand(self) -> Tensor:
        """bool [T, P]: visits to experts at hand."""
        where = self.blocks.where
        if where is None:
            return torch.ones_like(self.visits.experts, dtype=torch.bool)
        return where[self.visits.experts] >= 0

    def gradient(self) -> Blocks:
        """Random numbers to add to, fp32, where the experts' blocks are."""
        start = normal(6, *self.blocks.table.shape, dtype=torch.float32)
        return Blocks(start.to(self.x.device), self.blocks.where)


def make_case(
    shape: Shape, dtype: torch.dtype, device: torch.device, some_at_hand: bool = False
) -> Case:
    """With `some_at_hand`, every third expert is not, and the others' blocks are in disorder.

    A block that belongs to nobody holds NaN then.
    """
    scores = normal(1, shape.tokens, shape.experts)
    if shape.probes < shape.experts:
        scores[:, 0] = -100.0
    where, count = None, shape.experts
    if some_at_hand:
        present = [e for e in range(shape.experts) if e % 3 != 1]
        where = torch.full((shape.experts,), -1, dtype=torch.int32)
        for block, e in enumerate(reversed(present)):
            where[e] = block + 1
        count = len(present) + 1
    table = normal(2, count, shape.c, shape.d, dtype=dtype)
    if some_at_hand:
        table[0] = float("nan")
    return Case(
        shape,
        normal(3, shape.tokens, shape.d, dtype=dtype).to(device),
        normal(4, shape.tokens, shape.probes, shape.c, dtype=torch.float32).to(device),
        Blocks(table.to(device), None if where is None else where.to(device)),
        visits_of(scores.to(device, torch.float32), shape.probes),
    )


def visited_rows(case: Case) -> Tensor:
    """The rows of each visit's expert, fp64 [T, P, c, d]; zeros where it is not at hand."""
    where, experts = case.blocks.where, case.visits.experts
    block = experts if where is None else where[experts].long()
    rows = case.blocks.table.double()[block.clamp(min=0)]
    return rows.where(case.at_hand[:, :, None, None], 0.0)


def dense_lookup(case: Case, size: bool = False) -> Tensor:
    """[T, P, c]. With `size`, the sum of the terms' sizes, by which roundings are judged."""
    rows, x = visited_rows(case), case.x.double()
    return torch.einsum("tpcd,td->tpc", *_sized(size, rows, x))


def dense_combine(case: Case, size: bool = False) -> Tensor:
    """[T, d]; weights are rounded to the blocks' type."""
    rows, weights = visited_rows(case), case.weights.to(case.x.dtype).double()
    return torch.einsum("tpc,tpcd->td", *_sized(size, weights, rows))


def dense_weigh(case: Case, size: bool = False) -> Tensor:
    """What is added to each block, [B, c, d]."""
    added = torch.zeros_like(case.blocks.table, dtype=torch.float64)
    weights, x = _sized(size, case.weights.double(), case.x.double())
    for e in range(case.shape.experts):
        block = e if case.blocks.where is None else int(case.blocks.where[e])
        if block >= 0:
            own = weights.where((case.visits.experts == e)[:, :, None], 0.0).sum(1)
            added[block] = own.t() @ x
    return added


def _sized(size: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.abs() for t in tensors) if size else tensors
