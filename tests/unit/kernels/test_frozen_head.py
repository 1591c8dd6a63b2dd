"""Chunked cross-entropy with its hand-made gradient equals torch's on whole logits."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from torch.nn import functional

from pando_kernels.frozen_head import FrozenHead, frozen_head_loss

N, D, V = 23, 9, 31


def head(bias: bool, softcap: float, scale: float = 1.0) -> FrozenHead:
    weight = normal(1, V, D, dtype=torch.float32) * scale
    return FrozenHead(weight, normal(2, V, dtype=torch.float32) if bias else None, softcap)


def reference(hidden, labels, weights, head):
    """(losses, hits, d hidden) in fp64."""
    leaf = hidden.double().requires_grad_()
    logits = leaf @ head.weight.double().t()
    if head.bias is not None:
        logits = logits + head.bias.double()
    if head.softcap:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    losses = functional.cross_entropy(logits, labels, reduction="none")
    (losses * weights.double()).sum().backward()
    return losses.detach(), logits.argmax(1) == labels, leaf.grad


@pytest.mark.parametrize("chunk", [1, 7, N, 1000])
@pytest.mark.parametrize("softcap", [0.0, 3.0], ids=["no-softcap", "softcap"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_losses_hits_and_gradient_equal_cross_entropy(bias, softcap, chunk):
    frozen = head(bias, softcap)
    hidden, labels = normal(3, N, D, dtype=torch.float32), torch.arange(N) * 7 % V
    weights = torch.rand(N, generator=torch.Generator().manual_seed(0))
    weights[4] = 0.0
    expected = reference(hidden, labels, weights, frozen)
    losses, hits, gradient = frozen_head_loss(hidden, labels, weights, frozen, chunk)
    torch.testing.assert_close(losses.double(), expected[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(hits, expected[1])
    assert gradient is not None
    torch.testing.assert_close(gradient.double(), expected[2], rtol=1e-4, atol=1e-5)


def test_hits_are_counted_where_there_are_some():
    frozen = head(False, 0.0)
    hidden = normal(3, N, D, dtype=torch.float32)
    likeliest = (hidden @ frozen.weight.t()).argmax(1)
    _, hits, _ = frozen_head_loss(hidden, likeliest, None, frozen, 5)
    assert hits.all()


def test_evaluation_makes_no_gradient():
    frozen = head(True, 2.0)
    hidden, labels = normal(3, N, D, dtype=torch.float32), torch.arange(N) % V
    losses, _, gradient = frozen_head_loss(hidden, labels, None, frozen, 5)
    trained, _, _ = frozen_head_loss(hidden, labels, torch.ones(N), frozen, 5)
    assert gradient is None
    assert torch.equal(losses, trained)


def test_no_rows_at_all():
    losses, hits, gradient = frozen_head_loss(
        torch.zeros(0, D), torch.zeros(0, dtype=torch.int64), torch.zeros(0), head(True, 0.0), 5
    )
    assert len(losses) == len(hits) == 0
    assert gradient is not None
    assert gradient.shape == (0, D)


def test_huge_logits_do_not_overflow():
    frozen = head(False, 0.0, scale=1e4)
    hidden, labels = normal(3, N, D, dtype=torch.float32), torch.arange(N) % V
    expected = reference(hidden, labels, torch.ones(N), frozen)
    losses, _, gradient = frozen_head_loss(hidden, labels, torch.ones(N), frozen, 4)
    torch.testing.assert_close(losses.double(), expected[0], rtol=1e-4, atol=0.1)
    assert gradient is not None
    assert gradient.isfinite().all()


def test_bfloat16_is_near():
    wide = head(False, 0.0)
    frozen = FrozenHead(wide.weight.bfloat16())
    hidden, labels = normal(3, N, D, dtype=torch.bfloat16), torch.arange(N) % V
    expected = reference(hidden, labels, torch.ones(N), frozen)
    losses, _, gradient = frozen_head_loss(hidden, labels, torch.ones(N), frozen, 6)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.double(), expected[0], rtol=0.02, atol=0.05)
    assert gradient is not None
    torch.testing.assert_close(gradient.double(), expected[2], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("chunk", [1, 4, N])
def test_nan_in_one_row_stays_there(chunk):
    frozen, labels = head(True, 0.0), torch.arange(N) % V
    hidden = normal(3, N, D, dtype=torch.float32)
    clean = frozen_head_loss(hidden, labels, torch.ones(N), frozen, chunk)
    poisoned = hidden.clone()
    poisoned[5] = float("nan")
    beside = frozen_head_loss(poisoned, labels, torch.ones(N), frozen, chunk)
    others = [row for row in range(N) if row != 5]
    assert beside[0][5].isnan()
    assert not beside[1][5]
    assert torch.equal(clean[0][others], beside[0][others])
    assert clean[2] is not None
    assert beside[2] is not None
    assert torch.equal(clean[2][others], beside[2][others])
