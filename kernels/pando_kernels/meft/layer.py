"""MEFT's sparse parallel adapter with its Key-Experts router (Hao et al., ACL 2024), by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.meft.balance import Balance, balance_gradient
from pando_kernels.meft.expert_ops import expert_ops
from pando_kernels.meft.memory import Memory
from pando_kernels.meft.visits import Visits, visits_of


@dataclass(frozen=True, slots=True)
class MeftKept:
    """What a layer's backward pass reads beside its input: 2 · P · c numbers a token, fp32. Scores
    [t, E] are kept for the load-balance term alone."""

    scores: Tensor | None
    visits: Visits
    products: Tensor
    activations: Tensor
    used: Tensor


@dataclass(frozen=True, slots=True)
class MeftLayer:
    """out += W_V · TopK(ReLU(g · (W_K x))), beside one frozen feed-forward network.

    The M keys are E experts of c = M / E keys. A token scores the experts g = W_g x, keeps its
    `probes` best, weighs their keys' products by the expert's score, keeps the `top_k` largest of
    those that are positive, and sums their values. Nothing is dropped: selection is per token.

    Keys and values are the memory's; router and its gradient [E, d], fp32 or wider. `balance`
    weighs the router's load-balance term, 0 for none.
    """

    memory: Memory
    router: Tensor
    grad_router: Tensor
    probes: int
    top_k: int
    balance: float = 0.0
    #: What must live as long as the layer does.
    owner: object = None

    def forward(self, x: Tensor, out: Tensor) -> MeftKept:
        """x [t, d] of the memory's type, out [t, d] (added to)."""
        ops, memory, width = expert_ops(x.device), self.memory, self.memory.width
        scores = torch.mm(x.to(self.router.dtype), self.router.t())  # g [t, E]
        visits = visits_of(scores, self.probes)
        products = scores.new_empty(x.shape[0], self.probes, width)
        for keys in memory.keys(visits):
            ops.lookup(x, keys, visits, products)
        activations = ops.select(products, visits.gates, self.top_k)
        used = _used(activations, visits, scores.shape[1], None)
        for values in memory.values(visits, used):
            ops.combine(activations, values, visits, out)
        memory.look_ahead(x)
        kept_scores = scores if self.balance else None
        return MeftKept(kept_scores, visits, products, activations, used)

    def backward(
        self, x: Tensor, dout: Tensor, dx: Tensor | None, kept: MeftKept, balance: Balance | None
    ) -> None:
        """x, dout, dx [t, d] of the memory's type; adds to `dx` unless it is None."""
        ops, memory, visits = expert_ops(x.device), self.memory, kept.visits
        d_products = torch.empty_like(kept.products)
        for values in memory.values(visits, kept.used):
            ops.lookup(dout, values, visits, d_products)
        d_gates = ops.unselect(d_products, kept.activations, kept.products, visits.gates)
        # What is behind a sequence's last target gets no gradient, and so touches no rows.
        touched = _used(kept.activations, visits, kept.used.shape[0], dout.any(1))
        for grad_keys, grad_values in memory.gradients(visits, touched):
            ops.weigh(kept.activations, dout, visits, grad_values)
            ops.weigh(d_products, x, visits, grad_keys)
        d_scores = d_gates.new_zeros(len(x), len(self.router)).scatter_(1, visits.experts, d_gates)
        if kept.scores is not None and balance is not None:
            d_scores += self.balance * balance_gradient(kept.scores, visits.experts, balance)
        self.grad_router.addmm_(d_scores.t(), x.to(self.router.dtype))
        if dx is not None:
            for keys in memory.keys(visits):
                ops.combine(d_products, keys, visits, dx)
            dx += torch.mm(d_scores, self.router).to(dx.dtype)
        memory.look_back()


def _used(activations: Tensor, visits: Visits, experts: int, by: Tensor | None) -> Tensor:
    """Rows that some token uses, of those in `by`, bool [t]; bool [E, c]. A row that met a NaN is
    among them."""
    if by is not None:
        activations = activations * by[:, None, None]
    sums = activations.new_zeros(experts, activations.shape[2])
    sums.index_add_(0, visits.experts.flatten(), activations.flatten(0, 1))
    return sums != 0
