"""LoRA by hand equals the dense formula by autograd; dropout's masks serve both passes."""

from __future__ import annotations

import pytest
import torch
from numerics import make_lora, normal, numerical_gradient

from pando_kernels.dropout import SequenceDropout

SHAPES = [(7, 13, 1), (33, 20, 3), (16, 16, 16), (31, 29, 100)]


@pytest.mark.parametrize("rows", [0, 1, 5, 127])
@pytest.mark.parametrize(("inputs", "outputs", "rank"), SHAPES)
def test_forward_and_gradients_equal_the_dense_formula(rows, inputs, outputs, rank):
    lora = make_lora(1, (inputs, outputs), rank)
    x, y0, dy = normal(3, rows, inputs), normal(4, rows, outputs), normal(5, rows, outputs)
    xd, a, b = (t.clone().requires_grad_() for t in (x, lora.a, lora.b))
    expected = y0 + 0.7 * (xd @ a.t()) @ b.t()
    expected.backward(dy)

    y, dx = y0.clone(), torch.zeros_like(x)
    saved = lora.forward(x, y, None)
    lora.backward(x, dy, dx, saved)

    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(dx, xd.grad)
    torch.testing.assert_close(lora.grad_a, a.grad)
    torch.testing.assert_close(lora.grad_b, b.grad)


def test_gradients_are_added_to_what_is_there():
    lora = make_lora(1, (6, 5), 2)
    x, dy, dx = normal(2, 3, 6), normal(3, 3, 5), normal(4, 3, 6)
    saved = lora.forward(x, torch.zeros(3, 5, dtype=torch.float64), None)
    first = torch.zeros_like(dx)
    lora.backward(x, dy, first, saved)
    once = lora.grad_a.clone(), lora.grad_b.clone()
    before = dx.clone()
    lora.backward(x, dy, dx, saved)
    torch.testing.assert_close(lora.grad_a, 2 * once[0])
    torch.testing.assert_close(lora.grad_b, 2 * once[1])
    torch.testing.assert_close(dx, before + first)


def test_an_input_without_gradient_changes_nothing_else():
    with_dx, without = make_lora(1, (6, 5), 2), make_lora(1, (6, 5), 2)
    x, dy = normal(2, 3, 6), normal(3, 3, 5)
    for lora, dx in ((with_dx, torch.zeros_like(x)), (without, None)):
        saved = lora.forward(x, torch.zeros(3, 5, dtype=torch.float64), None)
        lora.backward(x, dy, dx, saved)
    assert torch.equal(with_dx.grad_a, without.grad_a)
    assert torch.equal(with_dx.grad_b, without.grad_b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_keeps_the_adapter_in_fp32(dtype):
    a, b = normal(1, 3, 24, dtype=torch.float32), normal(2, 17, 3, dtype=torch.float32)
    lora = type(make_lora(1, (1, 1), 1))(a, b, torch.zeros_like(a), torch.zeros_like(b), 0.5)
    x, dy = normal(3, 9, 24, dtype=dtype), normal(4, 9, 17, dtype=dtype)
    y, dx = torch.zeros(9, 17, dtype=dtype), torch.zeros(9, 24, dtype=dtype)
    saved = lora.forward(x, y, None)
    lora.backward(x, dy, dx, saved)
    wide_x, wide_dy = x.double(), dy.double()
    half = {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(y.double(), 0.5 * wide_x @ a.double().t() @ b.double().t(), **half)
    torch.testing.assert_close(dx.double(), 0.5 * wide_dy @ b.double() @ a.double(), **half)
    ds = 0.5 * wide_dy @ b.double()
    torch.testing.assert_close(lora.grad_a.double(), ds.t() @ wide_x, rtol=1e-4, atol=1e-4)


def masks(seed: int, *lengths: int) -> SequenceDropout:
    """Sequences of these lengths, their generators seeded one after the other."""
    seeds = range(seed, seed + len(lengths))
    return SequenceDropout(
        tuple((n, torch.Generator().manual_seed(s)) for n, s in zip(lengths, seeds, strict=True))
    )


class TestDropout:
    def objective(self, lora, x, dy, seed):
        y = torch.zeros(x.shape[0], lora.b.shape[0], dtype=x.dtype)
        lora.forward(x, y, masks(seed, len(x)))
        return float((y * dy).sum())

    @pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
    def test_gradients_are_those_of_the_masked_forward(self, p):
        lora = make_lora(1, (7, 4), 3, dropout=p)
        x, dy = normal(3, 5, 7), normal(4, 5, 4)
        y, dx = torch.zeros(5, 4, dtype=torch.float64), torch.zeros_like(x)
        saved = lora.forward(x, y, masks(9, len(x)))
        lora.backward(x, dy, dx, saved)
        for tensor, gradient in ((x, dx), (lora.a, lora.grad_a), (lora.b, lora.grad_b)):
            numerical = numerical_gradient(lambda: self.objective(lora, x, dy, 9), tensor)
            torch.testing.assert_close(gradient, numerical, rtol=1e-6, atol=1e-6)

    def test_its_expectation_is_the_output_without_it(self):
        lora = make_lora(1, (11, 3), 2, dropout=0.3)
        row = normal(3, 1, 11)
        x = row.expand(40_000, 11).contiguous()
        y = torch.zeros(x.shape[0], 3, dtype=torch.float64)
        lora.forward(x, y, masks(0, len(x)))
        expected = (0.7 * row @ lora.a.t() @ lora.b.t()).squeeze(0)
        error = (y.mean(0) - expected).abs()
        assert (error < 5 * y.std(0) / len(x) ** 0.5).all()
        assert (y.std(0) > 0).all()

    def test_evaluation_has_none(self):
        lora, plain = make_lora(1, (7, 4), 3, dropout=0.5), make_lora(1, (7, 4), 3)
        x, y, expected = normal(3, 5, 7), *torch.zeros(2, 5, 4, dtype=torch.float64)
        lora.forward(x, y, None)
        plain.forward(x, expected, None)
        assert torch.equal(y, expected)

    def test_a_mask_is_a_function_of_the_seed(self):
        lora = make_lora(1, (7, 4), 3, dropout=0.5)
        x, dy = normal(3, 5, 7), normal(4, 5, 4)
        assert self.objective(lora, x, dy, 1) == self.objective(lora, x, dy, 1)
        assert self.objective(lora, x, dy, 1) != self.objective(lora, x, dy, 2)

    def test_a_sequence_gets_the_same_masks_alone_and_among_others(self):
        lora, other = make_lora(1, (7, 4), 3, dropout=0.5), make_lora(4, (4, 7), 3, dropout=0.5)
        x = normal(3, 9, 7)
        rows = {0: slice(0, 2), 1: slice(2, 7), 2: slice(7, 9)}

        def outputs(part: torch.Tensor, dropout: SequenceDropout):
            """Two layers, one after the other, draw from the same generators."""
            first = torch.zeros(len(part), 4, dtype=torch.float64)
            second = torch.zeros_like(part)
            lora.forward(part, first, dropout)
            other.forward(first, second, dropout)
            return first, second

        together = outputs(x, masks(5, 2, 5, 2))
        for place, part in rows.items():
            alone = outputs(x[part], masks(5 + place, part.stop - part.start))
            for ours, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[part], expected)
