"""Row-wise lazy AdamW equals the formula, row by row, and AdamW where every row is touched."""

from __future__ import annotations

import pytest
import torch
from lazy_adamw_reference import adamw_row
from numerics import normal

from pando_kernels.adamw import AdamWSettings
from pando_kernels.meft.lazy_adamw import AdamWRows, lazy_adamw

SETTINGS = AdamWSettings(0.9, 0.99, 1e-8, 0.1)


def tables(rows: int, d: int, dtype=torch.float64, shadow=None) -> AdamWRows:
    value = normal(1, 2, rows, d, dtype=dtype)
    zeros = (torch.zeros_like(value) for _ in range(3))
    copy = None if shadow is None else value.to(shadow)
    return AdamWRows(value, *zeros, torch.zeros(rows, dtype=torch.int32), copy)


def touched_in(step: int, rows: int, share: float) -> torch.Tensor:
    rng = torch.Generator().manual_seed(step)
    return (torch.rand(rows, generator=rng) < share).nonzero()[:, 0]


#: Short rows are gathered; of 1,024 numbers, two neighbours make a run; longer ones are runs alone.
@pytest.mark.parametrize("d", [3, 1024, 2500])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_twenty_steps_equal_the_formula(d, share, scale):
    rows = 12
    ours = tables(rows, d)
    value, mean, square = ours.value.clone(), ours.mean.clone(), ours.square.clone()
    steps = [0] * rows
    options = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    for step in range(20):
        touched = touched_in(step, rows, share)
        gradient = normal(100 + step, 2, rows, d)
        for i in touched.tolist():
            steps[i] += 1
            for t in range(2):
                value[t, i], mean[t, i], square[t, i] = adamw_row(
                    value[t, i],
                    scale * gradient[t, i],
                    mean[t, i],
                    square[t, i],
                    steps[i],
                    **options,
                )
        ours.gradient[:, touched] = gradient[:, touched]
        lazy_adamw(ours, touched, 0.01, SETTINGS, scale)
        assert not ours.gradient.any()
    for found, expected in ((ours.value, value), (ours.mean, mean), (ours.square, square)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert ours.counts.tolist() == steps


@pytest.mark.parametrize("d", [5, 4096])
def test_it_is_torchs_adamw_where_every_step_touches_every_row(d):
    ours = tables(6, d, torch.float32)
    theirs = ours.value.clone().requires_grad_()
    optimizer = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(20):
        theirs.grad = normal(step, 2, 6, d, dtype=torch.float32)
        ours.gradient.copy_(theirs.grad)
        optimizer.step()
        lazy_adamw(ours, torch.arange(6), 0.01, SETTINGS, 1.0)
    torch.testing.assert_close(ours.value, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("d", [7, 2048])
def test_rows_that_are_not_touched_do_not_move(d):
    ours = tables(9, d)
    lazy_adamw(ours, torch.arange(9), 0.01, SETTINGS, 1.0)
    before = [t.clone() for t in (ours.value, ours.mean, ours.square, ours.counts)]
    touched = torch.tensor([0, 3, 4, 8])
    ours.gradient[:, touched] = 1.0
    lazy_adamw(ours, touched, 0.01, SETTINGS, 1.0)
    still = torch.tensor([1, 2, 5, 6, 7])
    for now, then in zip((ours.value, ours.mean, ours.square), before, strict=False):
        assert torch.equal(now[:, still], then[:, still])
        assert not torch.equal(now[:, touched], then[:, touched])
    assert torch.equal(ours.counts[still], before[3][still])


@pytest.mark.parametrize("d", [7, 2048])
def test_the_shadow_keeps_up(d):
    ours = tables(9, d, torch.float32, shadow=torch.bfloat16)
    touched = torch.tensor([1, 2, 3, 7])
    ours.gradient[:, touched] = 1.0
    lazy_adamw(ours, touched, 0.1, SETTINGS, 1.0)
    assert torch.equal(ours.shadow, ours.value.bfloat16())


@pytest.mark.parametrize("d", [7, 2048])
def test_a_rate_of_zero_moves_nothing(d):
    ours = tables(9, d, torch.float32)
    before = ours.value.clone()
    ours.gradient[:, 2:5] = 1.0
    lazy_adamw(ours, torch.arange(9), 0.0, SETTINGS, 1.0)
    assert torch.equal(ours.value, before)
