"""The kernel of cross-entropy against torch's in fp64, with its gradient in the logits' place."""

from __future__ import annotations

import pytest
import torch
from numerics import normal
from torch.nn import functional

from pando_kernels.backend import always_triton
from pando_kernels.cross_entropy import cross_entropy_
from pando_kernels.frozen_head import FrozenHead, frozen_head_loss

#: (rows, vocabulary): below, at and beyond a block of 4096, and no multiple of it.
SHAPES = [(1, 1), (5, 31), (3, 4096), (4, 9001)]
DTYPES = [torch.float32, torch.bfloat16]

#: The interpreter warns where a GPU goes on with infinity or NaN, as is meant.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


def problem(device, dtype, rows, vocabulary):
    """Logits, labels (the last is its row's likeliest) and weights, of which one is zero."""
    logits = (normal(1, rows, vocabulary, dtype=dtype) * 4).to(device)
    labels = torch.arange(rows, device=device) * 7919 % vocabulary
    labels[-1] = logits[-1].argmax()
    weights = torch.rand(rows, generator=torch.Generator().manual_seed(2)).to(device)
    weights[0] = 0.0
    return logits, labels, weights


def reference(logits, labels, weights, softcap):
    """(losses, d logits) in fp64."""
    leaf = logits.double().requires_grad_()
    capped = softcap * torch.tanh(leaf / softcap) if softcap else leaf
    losses = functional.cross_entropy(capped, labels, reduction="none")
    (losses * weights.double()).sum().backward()
    return losses.detach(), leaf.grad


@pytest.mark.parametrize(("rows", "vocabulary"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("softcap", [0.0, 5.0], ids=["no-softcap", "softcap"])
def test_losses_hits_and_gradient_are_torchs(device, softcap, dtype, rows, vocabulary):
    logits, labels, weights = problem(device, dtype, rows, vocabulary)
    expected = reference(logits, labels, weights, softcap)
    likeliest = logits.gather(1, labels[:, None]).squeeze(1) == logits.amax(1)
    losses, hits, gradient = cross_entropy_(logits, labels, weights, softcap)
    torch.testing.assert_close(losses.double(), expected[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(hits, likeliest)
    assert hits[-1]
    assert gradient is logits
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.double(), expected[1], rtol=step + 1e-5, atol=1e-7)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_evaluation_leaves_the_logits(device, softcap):
    logits, labels, weights = problem(device, torch.float32, 3, 5000)
    kept = logits.clone()
    losses, hits, gradient = cross_entropy_(logits, labels, None, softcap)
    assert gradient is None
    assert torch.equal(logits, kept)
    trained = cross_entropy_(logits, labels, weights, softcap)
    assert torch.equal(losses, trained[0])
    assert torch.equal(hits, trained[1])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_row(device, poison):
    logits, labels, weights = problem(device, torch.float32, 4, 5000)
    poisoned = logits.clone()
    poisoned[2, 4500] = poison
    clean = cross_entropy_(logits, labels, weights)
    beside = cross_entropy_(poisoned, labels, weights)
    assert beside[0][2].isnan()
    assert not beside[1][2]
    others = [0, 1, 3]
    for one, other in zip(clean, beside, strict=True):
        assert torch.equal(one[others], other[others])


def test_a_row_is_the_same_in_any_company(device):
    logits, labels, weights = problem(device, torch.bfloat16, 4, 5000)
    alone = cross_entropy_(logits[2:3].clone(), labels[2:3], weights[2:3])
    together = cross_entropy_(logits, labels, weights)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one[0], other[2])


def test_forbidden_tokens_and_huge_logits(device):
    logits = torch.full((1, 300), -1e4, device=device)
    logits[0, :200] = float("-inf")
    logits[0, 250] = 1e4
    losses, hits, gradient = cross_entropy_(
        logits, torch.tensor([250], device=device), torch.ones(1, device=device)
    )
    assert losses.item() == 0.0
    assert hits.item()
    assert torch.equal(gradient, torch.zeros(1, 300, device=device))


@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("softcap", [0.0, 3.0], ids=["no-softcap", "softcap"])
@pytest.mark.parametrize("chunk", [2, 100])
def test_through_the_head(device, chunk, softcap, bias):
    n, d, vocabulary = 7, 9, 301
    weight, offset, hidden = (
        normal(seed, *shape, dtype=torch.float32).to(device)
        for seed, shape in ((1, (vocabulary, d)), (2, (vocabulary,)), (3, (n, d)))
    )
    labels, weights = torch.arange(n, device=device) * 31, torch.rand(n).to(device)
    leaf = hidden.double().requires_grad_()
    logits = leaf @ weight.double().t() + (offset.double() if bias else 0.0)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    expected = functional.cross_entropy(logits, labels, reduction="none")
    (expected * weights.double()).sum().backward()
    head = FrozenHead(weight, offset if bias else None, softcap)
    losses, hits, gradient = frozen_head_loss(hidden, labels, weights, head, chunk)
    torch.testing.assert_close(losses.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(hits, logits.argmax(1) == labels)
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=1e-4, atol=1e-5)
