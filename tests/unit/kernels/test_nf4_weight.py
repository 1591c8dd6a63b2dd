"""NF4 against its formula, written out in fp64 over the codes as they lie in memory."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
from numerics import normal
from torch import Tensor

from pando_kernels.nf4_weight import Nf4Weight

SHAPES = [(1, 1), (1, 64), (3, 63), (5, 123), (7, 200), (48, 256)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def levels() -> Tensor:
    """QLoRA, section 3 and appendix E: 8 quantiles below zero, 9 above, which share the zero."""
    offset = (1 - 1 / 30 + 1 - 1 / 32) / 2

    def quantiles(count: int) -> list[float]:
        at = [offset + (0.5 - offset) * i / count for i in range(count)]
        return [NormalDist().inv_cdf(p) for p in at]

    values = torch.tensor(
        [*(-q for q in quantiles(7)), 0.0, *reversed(quantiles(8))], dtype=torch.float64
    )
    return values / values.abs().max()


def decoded(weight: Nf4Weight) -> Tensor:
    """fp64 [N, K], one number at a time."""
    table = levels().tolist()
    n, k = weight.shape
    rows = []
    for row in range(n):
        low, step = float(weight.low[row]), float(weight.step[row])
        codes, scales = weight.codes[row].tolist(), weight.scales[row].tolist()
        rows.append(
            [
                table[codes[i // 2] >> 4 if i % 2 == 0 else codes[i // 2] & 15]
                * (low + step * scales[i // 64])
                for i in range(k)
            ]
        )
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_unpacks_to_what_its_bytes_say(shape, dtype):
    weight = Nf4Weight.quantize(normal(1, *shape, dtype=dtype), dtype)
    assert weight.shape == shape
    assert weight.dense().dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
    torch.testing.assert_close(
        weight.dense().double(), decoded(weight), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_each_number_takes_the_nearest_level_of_its_block(shape):
    """Up to what the 8-bit scale is off, half a step at most."""
    original = normal(2, *shape, dtype=torch.float32)
    weight = Nf4Weight.quantize(original, torch.float32)
    for block, got in zip(
        original.double().split(64, dim=1), weight.dense().double().split(64, dim=1), strict=True
    ):
        scale = block.abs().amax(dim=1, keepdim=True)
        distances = (block[..., None] - scale[..., None] * levels()).abs()
        best = scale * levels()[distances.argmin(dim=-1)]
        bound = 0.5001 * weight.step.double() + 1e-6 * scale
        assert bool(((got - best).abs() <= bound).all())


def test_a_normal_weight_keeps_its_numbers_to_a_tenth():
    """The error of rounding to the levels, integrated over the normal, is 9 % of a block's size."""
    original = normal(3, 256, 1024, dtype=torch.float32)
    weight = Nf4Weight.quantize(original, torch.float32)
    error = float((weight.dense() - original).norm() / original.norm())
    assert 0.08 < error < 0.10


@pytest.mark.parametrize("k", [64, 128, 100, 1])
def test_stacked_weights_are_what_each_is_alone(k):
    parts = [normal(seed, n, k, dtype=torch.float32) for seed, n in ((4, 6), (5, 3), (6, 1))]
    stacked = Nf4Weight.quantize(torch.cat(parts), torch.float32)
    alone = [Nf4Weight.quantize(part, torch.float32).dense() for part in parts]
    assert torch.equal(stacked.dense(), torch.cat(alone))


@pytest.mark.parametrize("shape", [(6, 64), (5, 123)])
def test_products_and_gradient_are_those_of_the_dense_weight(shape):
    n, k = shape
    weight = Nf4Weight.quantize(normal(7, *shape, dtype=torch.float32), torch.float32)
    x, dy, bias = (
        normal(8, 9, k, dtype=torch.float32),
        normal(9, 9, n, dtype=torch.float32),
        normal(10, n, dtype=torch.float32),
    )
    dense = decoded(weight)
    y = x.double() @ dense.t()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(weight.forward(x, None).double(), y, **close)
    torch.testing.assert_close(weight.forward(x, bias).double(), y + bias.double(), **close)
    torch.testing.assert_close(weight.backward(dy).double(), dy.double() @ dense, **close)


def test_zeros_and_equal_blocks_stay_what_they_are():
    original = torch.zeros(3, 128)
    original[1] = 0.5
    original[2, 64:] = -2.0
    weight = Nf4Weight.quantize(original, torch.float32)
    torch.testing.assert_close(weight.dense(), original, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize(("n", "k"), [(10, 4096), (3, 100)])
def test_it_keeps_half_a_byte_a_number_and_a_byte_a_block(n, k):
    blocks = math.ceil(k / 64)
    weight = Nf4Weight.quantize(normal(1, n, k, dtype=torch.bfloat16), torch.bfloat16)
    kept = sum(tensor.numel() * tensor.element_size() for tensor in weight.stored)
    assert kept == n * (32 * blocks + blocks + 8)


def test_a_strided_weight_is_read_as_it_stands():
    original = normal(1, 64, 96, dtype=torch.float32)
    turned = Nf4Weight.quantize(original.t(), torch.float32)
    assert torch.equal(
        turned.dense(), Nf4Weight.quantize(original.t().contiguous(), torch.float32).dense()
    )


def test_rows_and_norms_of_columns_are_those_of_the_dense_weight():
    weight = Nf4Weight.quantize(normal(1, 9, 70, dtype=torch.float32), torch.float32)
    dense = decoded(weight)
    norms = weight.column_norms().double()
    torch.testing.assert_close(norms, dense.norm(dim=0), rtol=1e-6, atol=0.0)
    part = weight.rows(2, 5)
    assert part.shape == (3, 70)
    assert torch.equal(part.dense(), weight.dense()[2:5])
    assert part.stored[0].data_ptr() == weight.stored[0][2:].data_ptr()
