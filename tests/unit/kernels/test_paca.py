"""PaCA's delta form equals its dense formula, and the LoRA whose A is frozen one-hot rows."""

from __future__ import annotations

import pytest
import torch
from numerics import make_paca, normal, numerical_gradient

from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

SHAPES = [(7, 13, 1), (33, 20, 3), (16, 16, 16), (131, 29, 100)]


def one_hot(paca: PacaLinear, inputs: int) -> torch.Tensor:
    a = torch.zeros(len(paca.columns), inputs, dtype=paca.p.dtype)
    a[torch.arange(len(paca.columns)), paca.columns] = 1.0
    return a


@pytest.mark.parametrize("rows", [0, 1, 5, 127])
@pytest.mark.parametrize(("inputs", "outputs", "rank"), SHAPES)
def test_forward_and_gradients_equal_the_dense_formula(rows, inputs, outputs, rank):
    paca = make_paca(1, (inputs, outputs), rank)
    x, y0, dy = normal(3, rows, inputs), normal(4, rows, outputs), normal(5, rows, outputs)
    xd, p = x.clone().requires_grad_(), paca.p.clone().requires_grad_()
    delta = torch.zeros(outputs, inputs, dtype=torch.float64).index_add(1, paca.columns, p)
    expected = y0 + 0.7 * xd @ delta.t()
    expected.backward(dy)

    y, dx = y0.clone(), torch.zeros_like(x)
    saved = paca.forward(x, y, None)
    paca.backward(None, dy, dx, saved)

    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(dx, xd.grad)
    torch.testing.assert_close(paca.grad_p, p.grad)


def test_gradients_equal_finite_differences():
    paca = make_paca(1, (6, 5), 3)
    x, dy = normal(2, 4, 6), normal(3, 4, 5)

    def objective() -> float:
        y = torch.zeros(4, 5, dtype=torch.float64)
        paca.forward(x, y, None)
        return float((y * dy).sum())

    dx = torch.zeros_like(x)
    paca.backward(None, dy, dx, paca.forward(x, torch.zeros(4, 5, dtype=torch.float64), None))
    torch.testing.assert_close(
        paca.grad_p, numerical_gradient(objective, paca.p), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(dx, numerical_gradient(objective, x), rtol=1e-6, atol=1e-6)


def test_it_equals_a_lora_of_one_hot_rows():
    paca = make_paca(1, (19, 11), 5)
    a = one_hot(paca, 19)
    lora = LoraLinear(a, paca.p, torch.zeros_like(a), torch.zeros_like(paca.p), paca.scale)
    x, dy = normal(2, 8, 19), normal(3, 8, 11)
    results = []
    for adapter in (paca, lora):
        y, dx = torch.zeros(8, 11, dtype=torch.float64), torch.zeros_like(x)
        adapter.backward(x, dy, dx, adapter.forward(x, y, None))
        results.append((y, dx))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(paca.grad_p, lora.grad_b)


def test_the_backward_pass_keeps_r_columns_alone():
    paca = make_paca(1, (64, 8), 3)
    saved = paca.forward(normal(2, 10, 64), torch.zeros(10, 8, dtype=torch.float64), None)
    assert not paca.needs_input
    assert isinstance(saved, torch.Tensor)
    assert saved.untyped_storage().nbytes() == 10 * 3 * 8


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_keeps_the_adapter_in_fp32(dtype):
    columns, p = torch.tensor([1, 4, 20]), normal(2, 17, 3, dtype=torch.float32)
    paca = PacaLinear(columns, p, torch.zeros_like(p), 0.5)
    x, dy = normal(3, 9, 24, dtype=dtype), normal(4, 9, 17, dtype=dtype)
    y, dx = torch.zeros(9, 17, dtype=dtype), torch.zeros(9, 24, dtype=dtype)
    paca.backward(None, dy, dx, paca.forward(x, y, None))
    part = x[:, columns].double()
    half = {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(y.double(), 0.5 * part @ p.double().t(), **half)
    torch.testing.assert_close(dx[:, columns].double(), 0.5 * dy.double() @ p.double(), **half)
    expected = 0.5 * dy.double().t() @ part
    torch.testing.assert_close(paca.grad_p.double(), expected, rtol=1e-4, atol=1e-4)
