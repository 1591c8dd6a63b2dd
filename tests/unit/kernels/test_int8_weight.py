"""INT8 against its formula in fp64."""

from __future__ import annotations

import pytest
import torch
from numerics import normal

from pando_kernels.int8_weight import Int8Weight

SHAPES = [(1, 1), (3, 63), (7, 200), (1500, 3)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_number_is_the_nearest_multiple_of_its_rows_step(shape, dtype):
    original = normal(1, *shape, dtype=dtype)
    weight = Int8Weight.quantize(original, dtype)
    step = original.double().abs().amax(dim=1, keepdim=True) / 127
    expected = (original.double() / step).round() * step
    got = weight.dense()
    assert weight.shape == shape
    assert got.dtype == dtype
    # A number in the middle between two steps may go either way.
    assert bool(
        ((got.double() - original.double()).abs() <= 0.501 * step + 127 * step * _eps(dtype)).all()
    )
    near = (got.double() - expected).abs() <= 127 * step * _eps(dtype)
    assert float(near.double().mean()) > 0.99


def _eps(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps)


@pytest.mark.parametrize("k", [256, 4096, 14336])
def test_a_normal_weight_keeps_its_numbers_to_a_hundredth(k):
    original = normal(3, 32, k, dtype=torch.float32)
    weight = Int8Weight.quantize(original, torch.float32)
    assert float((weight.dense() - original).norm() / original.norm()) < 0.01


def test_stacked_weights_are_what_each_is_alone():
    parts = [normal(seed, n, 50, dtype=torch.float32) for seed, n in ((4, 1100), (5, 3), (6, 1))]
    stacked = Int8Weight.quantize(torch.cat(parts), torch.float32)
    alone = [Int8Weight.quantize(part, torch.float32).dense() for part in parts]
    assert torch.equal(stacked.dense(), torch.cat(alone))


def test_products_and_gradient_are_those_of_the_dense_weight():
    weight = Int8Weight.quantize(normal(7, 6, 50, dtype=torch.float32), torch.float32)
    x, dy, bias = (
        normal(8, 9, 50, dtype=torch.float32),
        normal(9, 9, 6, dtype=torch.float32),
        normal(10, 6, dtype=torch.float32),
    )
    dense = weight.codes.double() * weight.scale.double()
    y = x.double() @ dense.t()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(weight.forward(x, None).double(), y, **close)
    torch.testing.assert_close(weight.forward(x, bias).double(), y + bias.double(), **close)
    torch.testing.assert_close(weight.backward(dy).double(), dy.double() @ dense, **close)


def test_a_row_of_zeros_stays_zero():
    original = normal(1, 3, 8, dtype=torch.float32)
    original[1] = 0.0
    dense = Int8Weight.quantize(original, torch.float32).dense()
    assert not dense[1].any()
    assert bool(dense.isfinite().all())


def test_it_keeps_a_byte_a_number_and_a_scale_a_row():
    weight = Int8Weight.quantize(normal(1, 10, 33, dtype=torch.bfloat16), torch.bfloat16)
    assert sum(tensor.numel() * tensor.element_size() for tensor in weight.stored) == 10 * (33 + 4)


def test_rows_and_norms_of_columns_are_those_of_the_dense_weight():
    weight = Int8Weight.quantize(normal(1, 9, 70, dtype=torch.float32), torch.float32)
    dense = weight.codes.double() * weight.scale.double()
    norms = weight.column_norms().double()
    torch.testing.assert_close(norms, dense.norm(dim=0), rtol=1e-6, atol=0.0)
    part = weight.rows(2, 5)
    assert part.shape == (3, 70)
    assert torch.equal(part.dense(), weight.dense()[2:5])
    assert part.stored[0].data_ptr() == weight.stored[0][2:].data_ptr()
