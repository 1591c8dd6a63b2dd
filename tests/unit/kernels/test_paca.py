"""PaCA's delta form equals its dense formula, and the LoRA whose A is frozen one-hot rows."""

from __future__ import annotations

import pytest
import torch
from linear_groups import assert_equals_dense, make_group, row_keys, run
from numerics import make_paca, normal, numerical_gradient

from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

SHAPES = [(7, 13, 1), (33, 20, 3), (16, 16, 16), (131, 29, 100)]


def one_hot(paca: PacaLinear, inputs: int) -> torch.Tensor:
    a = torch.zeros(len(paca.columns), inputs, dtype=paca.b.dtype)
    a[torch.arange(len(paca.columns)), paca.columns] = 1.0
    return a


@pytest.mark.parametrize("rows", [0, 1, 5, 127])
@pytest.mark.parametrize(("inputs", "outputs", "rank"), SHAPES)
def test_forward_and_gradients_equal_the_dense_formula(rows, inputs, outputs, rank):
    paca = make_paca(1, (inputs, outputs), rank)
    assert_equals_dense(make_group(3, inputs, {"proj": outputs}), [(rows, {"proj": paca})])


def test_gradients_equal_finite_differences():
    paca, group = make_paca(1, (6, 5), 3), make_group(3, 6, {"proj": 5})
    x, dy = normal(4, 4, 6), normal(5, 4, 5)
    segments = [(4, {"proj": paca})]
    dx = run(group, segments, x, dy).dx
    for tensor, gradient in ((paca.b, paca.grad_b.clone()), (x, dx)):
        numerical = numerical_gradient(
            lambda: float((run(group, segments, x, dy).y * dy).sum()), tensor
        )
        torch.testing.assert_close(gradient, numerical, rtol=1e-6, atol=1e-6)


def test_it_equals_a_lora_of_one_hot_rows():
    paca, group = make_paca(1, (19, 11), 5), make_group(3, 19, {"proj": 11})
    a = one_hot(paca, 19)
    lora = LoraLinear(a, paca.b, torch.zeros_like(a), torch.zeros_like(paca.b), paca.scale)
    x, dy = normal(4, 8, 19), normal(5, 8, 11)
    ours, theirs = (run(group, [(8, {"proj": adapter})], x, dy) for adapter in (paca, lora))
    torch.testing.assert_close(ours.y, theirs.y)
    torch.testing.assert_close(ours.dx, theirs.dx)
    torch.testing.assert_close(paca.grad_b, lora.grad_b)


def test_the_backward_pass_keeps_r_columns_alone():
    """r as the group pads it: 16 for 3."""
    group, x = make_group(3, 64, {"proj": 8}), normal(4, 10, 64)
    kept = run(group, [(10, {"proj": make_paca(1, (64, 8), 3)})], x, normal(5, 10, 8)).kept
    assert kept.x is None
    assert not kept.reads_input
    assert kept.s.untyped_storage().nbytes() == 10 * 16 * 8


def test_keys_for_the_dropout_of_others_change_nothing():
    group, x, dy = make_group(3, 12, {"proj": 8}), normal(4, 10, 12), normal(5, 10, 8)
    without, beside = (
        run(group, [(10, {"proj": make_paca(1, (12, 8), 3)})], x, dy, keys)
        for keys in (None, row_keys(0, 10))
    )
    assert torch.equal(without.y, beside.y)
    assert torch.equal(without.dx, beside.dx)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_has_gradients_in_fp32(dtype):
    p = normal(2, 17, 3, dtype=dtype)
    paca = PacaLinear(torch.tensor([1, 4, 20]), p, torch.zeros(17, 3), 0.5)
    group = make_group(3, 24, {"proj": 17}, dtype=dtype)
    x, dy = normal(4, 9, 24, dtype=dtype), normal(5, 9, 17, dtype=dtype)
    got = run(group, [(9, {"proj": paca})], x, dy)
    weight = group.weight.dense().double()
    weight[:, paca.columns] += 0.5 * p.double()
    half = {"rtol": 0.02, "atol": 0.1}
    torch.testing.assert_close(got.y.double(), x.double() @ weight.t(), **half)
    torch.testing.assert_close(got.dx.double(), dy.double() @ weight, **half)
    # Half of a number is exact, so the columns are kept as they are.
    expected = 0.5 * dy.double().t() @ x[:, paca.columns].double()
    torch.testing.assert_close(paca.grad_b.double(), expected, rtol=1e-5, atol=1e-5)
