"""Selection keeps each token's first and largest positive numbers, to the bit."""

from __future__ import annotations

import pytest
import torch
from dense_meft import first
from numerics import normal
from torch import Tensor
from triton_interpreter import device as gpu

from pando_kernels.meft import torch_expert_ops, triton_expert_ops
from pando_kernels.meft.expert_ops import ExpertOps

BACKENDS = {"torch": torch_expert_ops, "triton": triton_expert_ops}
#: tokens, probes, rows an expert
SHAPES = [(0, 2, 3), (1, 1, 1), (5, 3, 11), (127, 1, 3), (9, 8, 64), (3, 5, 70), (2, 4, 1030)]


@pytest.fixture(params=list(BACKENDS))
def ops(request: pytest.FixtureRequest) -> ExpertOps:
    return BACKENDS[request.param]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return gpu() if "triton" in request.node.name else torch.device("cpu")


def make(device: torch.device, tokens: int, probes: int, c: int) -> tuple[Tensor, Tensor]:
    """(products, gates), of both signs."""
    products = normal(1, tokens, probes, c, dtype=torch.float32)
    return products.to(device), normal(2, tokens, probes, dtype=torch.float32).to(device)


def selected(products: Tensor, gates: Tensor, top_k: int) -> Tensor:
    """By sorting, which keeps the order of equal numbers."""
    gated = (products * gates[:, :, None]).flatten(1)
    kept = first(gated, top_k) & (gated > 0)
    return torch.where(kept, gated, 0.0).view_as(products)


@pytest.mark.parametrize("top_k", [1, 2, 64, 10_000])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_largest_positive_numbers_are_kept(ops, device, shape, top_k):
    products, gates = make(device, *shape)
    assert torch.equal(ops.select(products, gates, top_k), selected(products, gates, top_k))


@pytest.mark.parametrize("top_k", [1, 7, 12, 40, 99, 100])
def test_of_equal_numbers_the_first_are_kept(ops, device, top_k):
    products, gates = make(device, 20, 4, 25)
    products.round_()
    gates.fill_(0.5)
    found = ops.select(products, gates, top_k)
    assert torch.equal(found, selected(products, gates, top_k))
    assert int((found > 0).sum(dim=(1, 2)).max()) <= top_k


def test_nothing_negative_is_kept(ops, device):
    products, gates = make(device, 5, 3, 11)
    assert not ops.select(-products.abs(), gates.abs(), 4).any()


def test_zeros_of_both_signs_are_nothing(ops, device):
    products = torch.zeros(3, 2, 8, device=device)
    products[1] = -0.0
    products[2, 1, 5] = 1.0
    found = ops.select(products, torch.ones(3, 2, device=device), 3)
    assert torch.equal(found, products)


def test_extreme_numbers_are_ordered_like_others(ops, device):
    row = [1e-44, 3e38, float("inf"), 1e-45, 1e-38, 2e-38, float("-inf"), 3e-38, 1.0, 1.0000001]
    products = torch.tensor(row, device=device).view(1, 2, 5)
    gates = torch.ones(1, 2, device=device)
    for top_k in range(1, 11):
        assert torch.equal(ops.select(products, gates, top_k), selected(products, gates, top_k))


@pytest.mark.parametrize("top_k", [1, 3, 20, 33])
def test_both_backends_agree_where_something_is_no_number(top_k):
    products, gates = make(torch.device("cpu"), 6, 3, 11)
    products.round_()
    for token in range(6):
        products[token].flatten()[: 2 * token] = float("nan")
    expected = torch_expert_ops.select(products, gates, top_k)
    found = triton_expert_ops.select(products.to(gpu()), gates.to(gpu()), top_k)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0, equal_nan=True)


def test_a_token_that_is_not_finite_changes_no_other(ops, device):
    products, gates = make(device, 9, 3, 11)
    expected = selected(products, gates, 5)
    products[4, 1, :2] = float("nan")
    found = ops.select(products, gates, 5)
    others = torch.arange(9, device=device) != 4
    assert torch.equal(found[others], expected[others])
    sick = found[4].flatten()
    assert sick.isnan().nonzero().flatten().tolist() == [11, 12]
    assert int((sick != 0).sum()) == 5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_slopes_pass_where_something_was_kept(ops, device, shape):
    products, gates = make(device, *shape)
    activations = ops.select(products, gates, 5)
    slopes = normal(3, *shape, dtype=torch.float32).to(device)

    p, g = (t.double().requires_grad_() for t in (products, gates))
    kept = torch.where(activations > 0, p * g[:, :, None], 0.0)
    kept.backward(slopes.double())

    d_gates = ops.unselect(slopes, activations, products, gates)
    torch.testing.assert_close(slopes, p.grad.float())
    torch.testing.assert_close(d_gates, g.grad.float())
