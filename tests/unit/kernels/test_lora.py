"""LoRA beside one frozen linear equals the dense formula; dropout's masks serve both passes."""

from __future__ import annotations

import pytest
import torch
from linear_groups import assert_equals_dense, make_group, row_keys, run
from numerics import make_lora, normal, numerical_gradient

SHAPES = [(7, 13, 1), (33, 20, 3), (16, 16, 16), (31, 29, 100)]


@pytest.mark.parametrize("rows", [0, 1, 5, 127])
@pytest.mark.parametrize(("inputs", "outputs", "rank"), SHAPES)
def test_forward_and_gradients_equal_the_dense_formula(rows, inputs, outputs, rank):
    lora = make_lora(1, (inputs, outputs), rank)
    assert_equals_dense(make_group(3, inputs, {"proj": outputs}), [(rows, {"proj": lora})])


def test_gradients_are_added_to_what_is_there():
    lora, group = make_lora(1, (6, 5), 2), make_group(3, 6, {"proj": 5})
    x, dy = normal(4, 3, 6), normal(5, 3, 5)
    first = run(group, [(3, {"proj": lora})], x, dy)
    once = lora.grad_a.clone(), lora.grad_b.clone()
    second = run(group, [(3, {"proj": lora})], x, dy)
    torch.testing.assert_close(lora.grad_a, 2 * once[0])
    torch.testing.assert_close(lora.grad_b, 2 * once[1])
    assert torch.equal(first.dx, second.dx)


def test_an_input_without_gradient_changes_nothing_else():
    group, x, dy = make_group(3, 6, {"proj": 5}), normal(4, 3, 6), normal(5, 3, 5)
    with_dx, without = make_lora(1, (6, 5), 2), make_lora(1, (6, 5), 2)
    assert run(group, [(3, {"proj": with_dx})], x, dy).dx is not None
    assert run(group, [(3, {"proj": without})], x, dy, wants_dx=False).dx is None
    assert torch.equal(with_dx.grad_a, without.grad_a)
    assert torch.equal(with_dx.grad_b, without.grad_b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_has_gradients_in_fp32(dtype):
    lora = make_lora(1, (24, 17), 3, scale=0.5, dtype=dtype)
    group = make_group(3, 24, {"proj": 17}, dtype=dtype)
    x, dy = normal(4, 9, 24, dtype=dtype), normal(5, 9, 17, dtype=dtype)
    got = run(group, [(9, {"proj": lora})], x, dy)
    assert got.y.dtype == got.dx.dtype == dtype
    a, b, w, wide_x, wide_dy = (t.double() for t in (lora.a, lora.b, group.weight.dense(), x, dy))
    half = {"rtol": 0.02, "atol": 0.1}
    torch.testing.assert_close(got.y.double(), wide_x @ (w + 0.5 * b @ a).t(), **half)
    torch.testing.assert_close(got.dx.double(), wide_dy @ (w + 0.5 * b @ a), **half)
    # S and dS are rounded to 16 bits; the sums over rows are not.
    s = (0.5 * wide_x @ a.t()).to(dtype).double()
    ds = (0.5 * wide_dy @ b).to(dtype).double()
    for gradient, expected in ((lora.grad_b, wide_dy.t() @ s), (lora.grad_a, ds.t() @ wide_x)):
        assert gradient.dtype == torch.float32
        assert float((gradient.double() - expected).norm() / expected.norm()) < 1e-3


def test_gradients_too_large_for_fp16_do_not_overflow():
    lora = make_lora(1, (4, 4), 2, scale=1.0, dtype=torch.float16)
    ones = torch.ones(512, 4, dtype=torch.float16)
    lora.a.fill_(4.0)
    lora.b.fill_(4.0)
    run(
        make_group(3, 4, {"proj": 4}, dtype=torch.float16), [(512, {"proj": lora})], ones, 16 * ones
    )
    assert torch.equal(lora.grad_b, torch.full((4, 2), 512 * 16 * 16.0))
    assert torch.equal(lora.grad_a, torch.full((2, 4), 512 * 256.0))


class TestDropout:
    GROUP = make_group(3, 7, {"proj": 4})

    @pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
    def test_it_equals_the_dense_formula_with_masks_counted_in_python(self, p):
        lora = make_lora(1, (7, 4), 3, dropout=p)
        assert_equals_dense(self.GROUP, [(9, {"proj": lora})], row_keys(0, 9))

    @pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
    def test_gradients_are_those_of_the_masked_forward(self, p):
        lora = make_lora(1, (7, 4), 3, dropout=p)
        segments, keys = [(5, {"proj": lora})], row_keys(0, 5)
        x, dy = normal(3, 5, 7), normal(4, 5, 4)
        dx = run(self.GROUP, segments, x, dy, keys).dx
        gradients = [(x, dx), (lora.a, lora.grad_a.clone()), (lora.b, lora.grad_b.clone())]
        for tensor, gradient in gradients:
            numerical = numerical_gradient(
                lambda: float((run(self.GROUP, segments, x, dy, keys).y * dy).sum()), tensor
            )
            torch.testing.assert_close(gradient, numerical, rtol=1e-6, atol=1e-6)

    def test_its_expectation_is_the_output_without_it(self):
        group = make_group(3, 11, {"proj": 3})
        row = normal(3, 1, 11)
        x = row.expand(40_000, 11).contiguous()
        means = []
        for p in (0.0, 0.3):
            lora = make_lora(1, (11, 3), 2, dropout=p)
            y = run(group, [(40_000, {"proj": lora})], x, x[:, :3], row_keys(0, 40_000)).y
            means.append(y.mean(0))
        error = (means[1] - means[0]).abs()
        assert (y.std(0) > 0).all()
        assert (error < 5 * y.std(0) / len(x) ** 0.5).all()

    def test_evaluation_has_none(self):
        x, dy = normal(3, 5, 7), normal(4, 5, 4)
        dropped, plain = (
            run(self.GROUP, [(5, {"proj": make_lora(1, (7, 4), 3, dropout=p)})], x, dy)
            for p in (0.5, 0.0)
        )
        assert torch.equal(dropped.y, plain.y)
        assert torch.equal(dropped.dx, plain.dx)

    def test_a_mask_is_a_function_of_the_keys(self):
        x, dy = normal(3, 5, 7), normal(4, 5, 4)
        segments = [(5, {"proj": make_lora(1, (7, 4), 3, dropout=0.5)})]
        first, again, other = (
            run(self.GROUP, segments, x, dy, row_keys(seed, 5)).y for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_a_sequence_gets_the_same_masks_alone_and_among_others(self):
        x, dy, keys = normal(3, 9, 7), normal(4, 9, 4), row_keys(0, 9)
        together = make_lora(1, (7, 4), 3, dropout=0.5)
        y = run(self.GROUP, [(9, {"proj": together})], x, dy, keys).y
        one_by_one = make_lora(1, (7, 4), 3, dropout=0.5)
        for rows in (slice(0, 2), slice(2, 7), slice(7, 9)):
            segment = [(rows.stop - rows.start, {"proj": one_by_one})]
            alone = run(self.GROUP, segment, x[rows], dy[rows], keys.rows(rows)).y
            torch.testing.assert_close(y[rows], alone)
        torch.testing.assert_close(together.grad_a, one_by_one.grad_a)
        torch.testing.assert_close(together.grad_b, one_by_one.grad_b)
