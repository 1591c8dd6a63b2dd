"""One linear layer, or a group of them, with the adapters and rows of several jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.linear_group import LinearGroup
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.plan import AdapterSet, Plan
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.sequences import Sequences


@dataclass(frozen=True, slots=True)
class Shape:
    """K inputs and the outputs of each of the linears that read them."""

    name: str
    inputs: int
    widths: tuple[int, ...]

    @property
    def outputs(self) -> int:
        return sum(self.widths)


@dataclass(frozen=True, slots=True)
class Case:
    """T rows of J jobs, each with an adapter of rank r."""

    shape: Shape
    tokens: int
    jobs: int
    rank: int

    @property
    def title(self) -> str:
        return f"{self.shape.name} T{self.tokens} J{self.jobs} r{self.rank}"


def uneven_starts(tokens: int, jobs: int) -> tuple[int, ...]:
    """Where the jobs' rows start: shares between half and one and a half of the mean."""
    shares = np.random.default_rng(0).uniform(0.5, 1.5, jobs).cumsum()
    return (0, *(round(float(share) * tokens / float(shares[-1])) for share in shares))


class Problem:
    """Tensors of a case: x and dx-like [T, K], dy [T, N], W [N, K], and the jobs' adapters."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype):
        self.case = case
        shape = case.shape
        rng = torch.Generator(device).manual_seed(0)

        def random(*sizes: int) -> Tensor:
            wide = torch.randn(*sizes, generator=rng, device=device, dtype=dtype)
            return wide.mul_(sizes[-1] ** -0.5)

        self.x = random(case.tokens, shape.inputs)
        self.dy = random(case.tokens, shape.outputs)
        self.weight = random(shape.outputs, shape.inputs)
        self.names = tuple(f"layer{g}" for g in range(len(shape.widths)))
        self.group = LinearGroup(self.names, shape.widths, DenseWeight(self.weight))
        self.layout = SegmentLayout(
            uneven_starts(case.tokens, case.jobs), tuple(range(case.jobs)), device
        )
        self._random = random

    def _lora(self) -> Mapping[str, LoraLinear]:
        """One job's adapters, their As behind each other as the engine lays them."""
        shape, rank = self.case.shape, self.case.rank
        a = self._random(len(shape.widths) * rank, shape.inputs)
        grad_a = torch.zeros_like(a, dtype=torch.float32)
        b = [self._random(width, rank) for width in shape.widths]
        return {
            name: LoraLinear(
                a[g * rank : (g + 1) * rank],
                b[g],
                grad_a[g * rank : (g + 1) * rank],
                torch.zeros_like(b[g], dtype=torch.float32),
                scale=2.0,
            )
            for g, name in enumerate(self.names)
        }

    def _paca(self) -> Mapping[str, PacaLinear]:
        shape, rank = self.case.shape, self.case.rank
        rng = torch.Generator().manual_seed(1)
        b = [self._random(width, rank) for width in shape.widths]
        return {
            name: PacaLinear(
                torch.randperm(shape.inputs, generator=rng)[:rank].sort().values.to(self.x.device),
                b[g],
                torch.zeros_like(b[g], dtype=torch.float32),
            )
            for g, name in enumerate(self.names)
        }

    @cached_property
    def lora(self) -> Plan:
        return self._plan(tuple(self._lora() for _ in range(self.case.jobs)))

    @cached_property
    def paca(self) -> Plan:
        return self._plan(tuple(self._paca() for _ in range(self.case.jobs)))

    def _plan(self, jobs: tuple[Mapping[str, LoraLinear | PacaLinear], ...]) -> Plan:
        lengths = Sequences((self.case.tokens,), self.x.device)
        return Plan(AdapterSet(jobs), self.layout, lengths)

    def adapters(self, plan: Plan) -> GroupAdapters:
        found = plan.adapters.group(self.names, self.case.shape.widths, self.group.site)
        assert found is not None
        return found

    def forward_backward(self, plan: Plan) -> tuple[Tensor, Tensor]:
        """The whole layer as a step runs it: y and dx; gradients are accumulated."""
        y, kept = self.group.forward(self.x, plan)
        dx = self.group.backward(self.dy, kept, plan, None, True)
        assert dx is not None
        return y, dx
