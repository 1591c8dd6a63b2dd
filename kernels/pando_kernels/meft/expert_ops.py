"""What a sparse memory does with its experts' rows; each backend has these functions.

T tokens of width d, P visits each, experts of c rows (see `Visits`). The keys' products and the
values' gradients are one operation, as are the values' sum and the gradient of the keys' input:

    products = lookup(X, K)        [T, P, c]   K_e x          d_activations = lookup(dY, V)
    activations = select(products)             the top k of relu(g · products), zero elsewhere
    Y += combine(activations, V)   [T, d]      Σ_p a_p V_e    dX += combine(d_products, K)
    grad_V += weigh(activations, dY)           Σ aᵀ dy        grad_K += weigh(d_products, X)

A part of the experts at a time may be at hand: visits to the others are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from pando_kernels.meft.visits import Visits


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of the experts at hand: expert e's are table[where[e]], [c, d].

    table [B, c, d]; where int32 [E], negative for an expert that is not at hand. None: expert e is
    block e, and all are.
    """

    table: Tensor
    where: Tensor | None = None


class ExpertOps(Protocol):
    """A backend. X [T, d] of the blocks' type; gates, products and activations of a type no
    narrower than fp32."""

    def lookup(self, x: Tensor, blocks: Blocks, visits: Visits, out: Tensor) -> None:
        """out[t, p] = rows of the expert · x[t], for each visit to an expert at hand; out
        [T, P, c], fp32 or wider. Other visits' places are left as they are."""
        ...

    def select(self, products: Tensor, gates: Tensor, top_k: int) -> Tensor:
        """Of gates · products [T, P, c], each token's `top_k` largest that are positive; zero
        elsewhere. Of equal ones the first are taken. A token that has a NaN keeps it."""
        ...

    def unselect(
        self, d_activations: Tensor, activations: Tensor, products: Tensor, gates: Tensor
    ) -> Tensor:
        """Backward of `select`: d_activations becomes d_products in place; returns d_gates
        [T, P]."""
        ...

    def combine(self, weights: Tensor, blocks: Blocks, visits: Visits, y: Tensor) -> None:
        """y[t] += Σ_p weights[t, p] · rows of the expert, over visits to experts at hand; y
        [T, d]. Weights [T, P, c] are rounded to the blocks' type, the sum is made in fp32."""
        ...

    def weigh(self, weights: Tensor, x: Tensor, visits: Visits, gradient: Blocks) -> None:
        """gradient[e] += Σ weights[t, p]ᵀ x[t] over the expert's visits, for experts at hand;
        the gradient's table is fp32 or wider. On a GPU weights are rounded to x's type."""
        ...


_chosen: ContextVar[ExpertOps | None] = ContextVar("pando_expert_ops", default=None)


def expert_ops(device: torch.device) -> ExpertOps:
    """The backend for tensors of this device: Triton on a GPU, torch elsewhere."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if device.type == "cuda":
        from pando_kernels.meft import triton_expert_ops  # Triton may be absent without a GPU

        return cast(ExpertOps, triton_expert_ops)
    from pando_kernels.meft import torch_expert_ops

    return cast(ExpertOps, torch_expert_ops)


@contextmanager
def using(ops: ExpertOps) -> Iterator[None]:
    """Run with this backend whatever the device: how tests take Triton's interpreter."""
    token = _chosen.set(ops)
    try:
        yield
    finally:
        _chosen.reset(token)
