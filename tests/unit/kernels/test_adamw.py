"""AdamW and clipping equal torch's own."""

from __future__ import annotations

import pytest
import torch
from numerics import normal

from pando_kernels.adamw import AdamWSettings, AdamWSlot, adamw_many, adamw_step


@pytest.mark.parametrize(
    "settings",
    [
        AdamWSettings(),
        AdamWSettings(weight_decay=0.1),
        AdamWSettings(beta1=0.0, beta2=0.95, epsilon=1e-6, weight_decay=0.5),
    ],
    ids=["plain", "weight-decay", "other-betas"],
)
def test_fifty_steps_equal_torch(settings):
    n = 123
    value, mean, square = normal(1, n, dtype=torch.float32), torch.zeros(n), torch.zeros(n)
    reference = value.clone().requires_grad_()
    optimizer = torch.optim.AdamW(
        [reference],
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    for step in range(1, 51):
        rate = 0.01 / step
        gradient = normal(step + 1, n, dtype=torch.float32) * 10.0 ** (step % 7 - 3)
        gradient[::10] = 0.0
        optimizer.param_groups[0]["lr"] = rate
        reference.grad = gradient.clone()
        optimizer.step()
        adamw_step(value, gradient, mean, square, step, rate, settings)
        torch.testing.assert_close(value, reference.detach(), rtol=1e-6, atol=1e-7)


def test_a_step_leaves_the_gradient_alone():
    gradient = normal(1, 5)
    kept = gradient.clone()
    moments = torch.zeros(2, 5, dtype=torch.float64)
    adamw_step(normal(2, 5), gradient, *moments, 1, 0.1, AdamWSettings())
    assert torch.equal(gradient, kept)


def stepped(gradient: torch.Tensor, max_norm: float) -> tuple[float, torch.Tensor]:
    """The norm that a first step tells, and the gradient it used: AdamW's mean over 1 - beta1."""
    value, mean, square = torch.zeros(3, len(gradient))
    settings = AdamWSettings(beta1=0.5)
    slot = AdamWSlot(value, gradient.clone(), mean, square, None, 1, 0.1, settings, max_norm)
    norms, _ = adamw_many([slot])
    return float(norms[0]), 2.0 * mean


@pytest.mark.parametrize("scale", [1e-6, 0.1, 1.0, 1e4])
@pytest.mark.parametrize("max_norm", [0.5, 1.0, 100.0])
def test_clipping_equals_torch(scale, max_norm):
    gradient = normal(1, 77, dtype=torch.float32) * scale
    reference = torch.zeros(77, requires_grad=True)
    reference.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_([reference], max_norm)
    norm, used = stepped(gradient, max_norm)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(used, reference.grad, rtol=1e-6, atol=0)


def test_no_limit_leaves_the_gradient_alone():
    gradient = normal(1, 77, dtype=torch.float32) * 1e6
    norm, used = stepped(gradient, 0.0)
    assert norm == pytest.approx(float(gradient.norm()))
    torch.testing.assert_close(used, gradient, rtol=1e-6, atol=0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_is_told(poison):
    gradient = torch.tensor([1.0, poison])
    norm, _ = stepped(gradient, 1.0)
    assert not torch.isfinite(torch.tensor(norm))
