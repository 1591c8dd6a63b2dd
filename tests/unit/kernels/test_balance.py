"""The router's load-balance term: its gradient is the formula's, whatever is packed together."""

from __future__ import annotations

import torch
from numerics import meft_of, normal

from pando_kernels.meft.balance import Balance, balance_gradient
from pando_kernels.meft.beside import meft_backward, meft_forward
from pando_kernels.meft.visits import visits_of
from pando_kernels.plan import AdapterSet, Plan, make_plan


def term(scores: torch.Tensor, probes: int) -> torch.Tensor:
    """One sequence's Σ_e f_e P_e, by loops; scores [t, E]."""
    tokens, experts = scores.shape
    counts = torch.zeros(experts, dtype=scores.dtype)
    for row in scores:
        for expert in row.argsort(descending=True)[:probes].tolist():
            counts[expert] += 1
    shares = counts * experts / (probes * tokens)
    return (shares * scores.softmax(1).mean(0)).sum()


def test_the_gradient_is_autograds_of_the_formula():
    scores = normal(1, 12, 6).requires_grad_()
    lengths = (5, 1, 6)
    weight = 0.25
    total = sum(weight * term(part, 2) for part in scores.split(lengths))
    total.backward()
    sequences = torch.arange(3).repeat_interleave(torch.tensor(lengths))
    balance = Balance(sequences, 3, weight)
    experts = visits_of(scores.detach(), 2).experts
    torch.testing.assert_close(balance_gradient(scores.detach(), experts, balance), scores.grad)


def test_even_use_has_the_least_term_and_no_gradient():
    scores = torch.eye(4, dtype=torch.float64)
    assert float(term(scores, 1)) == 1.0
    balance = Balance(torch.zeros(4, dtype=torch.int64), 1, 1.0)
    gradient = balance_gradient(scores, visits_of(scores, 1).experts, balance)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def router_gradient(balance: float, packed: list[list[int]], weights=(0.5, 0.2)) -> torch.Tensor:
    """Of the second of two segments, whose sequences may be packed in several microbatches."""
    keys, values, router = normal(1, 4, 3, 8), normal(2, 4, 3, 8), normal(3, 4, 8)
    layer = meft_of(keys, values, router, 2, 4, balance)
    x, dy = normal(7, 11, 8), normal(8, 11, 8)
    rows = iter(range(11))
    for lengths in packed:
        mine = [next(rows) for _ in range(sum(lengths))]
        plan = make_plan([(3, {}), (len(mine), {"mlp": layer})], [3, *lengths])
        plan = Plan(
            AdapterSet(plan.adapters.jobs), plan.layout, plan.sequences, sequence_weights=weights
        )
        inputs = torch.cat([normal(9, 3, 8), x[mine]])
        kept = meft_forward(inputs, torch.zeros_like(inputs), "mlp", plan)
        meft_backward(inputs, torch.cat([normal(10, 3, 8), dy[mine]]), None, kept)
    return layer.grad_router


def test_a_layer_adds_it_to_its_routers_gradient():
    plain, balanced = router_gradient(0.0, [[4, 2, 5]]), router_gradient(0.3, [[4, 2, 5]])
    x = normal(7, 11, 8)
    router = normal(3, 4, 8).requires_grad_()
    scores = x @ router.t()
    (0.3 * sum(0.2 * term(part, 2) for part in scores.split([4, 2, 5]))).backward()
    torch.testing.assert_close(balanced - plain, router.grad)


def test_it_does_not_depend_on_what_is_packed_together():
    whole, split = router_gradient(0.3, [[4, 2, 5]]), router_gradient(0.3, [[4], [2, 5]])
    torch.testing.assert_close(whole, split)
