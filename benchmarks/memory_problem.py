"""One layer of a sparse memory, and its operations as they are timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pando_kernels.meft import triton_expert_ops as ops
from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits, visits_of

EXPERTS, PROBES, TOP_K = 64, 8, 64


@dataclass(frozen=True, slots=True)
class MemoryProblem:
    """Tokens x [T, d] look into PROBES of EXPERTS experts of c rows each, TOP_K of them active."""

    x: torch.Tensor
    y: torch.Tensor
    keys: Blocks
    gradient: Blocks
    visits: Visits
    products: torch.Tensor
    activations: torch.Tensor

    @staticmethod
    def of(tokens: int, d: int, c: int, dtype: torch.dtype, device: torch.device) -> MemoryProblem:
        x = torch.randn(tokens, d, dtype=dtype, device=device)
        visits = visits_of(torch.randn(tokens, EXPERTS, device=device), PROBES)
        products = torch.randn(tokens, PROBES, c, device=device)
        return MemoryProblem(
            x=x,
            y=torch.zeros_like(x),
            keys=Blocks(torch.randn(EXPERTS, c, d, dtype=dtype, device=device)),
            gradient=Blocks(torch.zeros(EXPERTS, c, d, device=device)),
            visits=visits,
            products=products,
            activations=ops.select(products, visits.gates, TOP_K),
        )


def lookup(p: MemoryProblem) -> Any:
    return ops.lookup(p.x, p.keys, p.visits, p.products)


def combine(p: MemoryProblem) -> Any:
    return ops.combine(p.activations, p.keys, p.visits, p.y)


def weigh(p: MemoryProblem) -> Any:
    return ops.weigh(p.activations, p.x, p.visits, p.gradient)
