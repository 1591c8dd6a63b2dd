"""The base product with the adapters in its epilogue, in tiles that serve several jobs."""

from __future__ import annotations

import pytest
import torch
from segment_world import Job, assert_near, expanded, magnitude, make_world, members, normal
from torch.nn import functional

from pando_kernels import torch_ops, triton_ops
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.triton.configs import config, epilogue_pays, trying
from pando_kernels.triton.gemm_expand import gemm_expand

JOBS = [Job(LoraLinear, 16), Job(PacaLinear, 3, missing=(1,)), None, Job(LoraLinear, 70)]
SEGMENTS = [(30, 0), (0, 3), (7, -1), (60, 1), (65, 3), (4, 2), (70, 0)]
WIDTHS, K = (40, 7), 72


def world(dtype, device):
    return make_world(JOBS, SEGMENTS, WIDTHS, K, dtype, device)


def product(made, weight, bias):
    return gemm_expand(made.x, weight, bias, made.s, made.group, made.layout)


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_equals_the_dense_formula(device, dtype, biased):
    made = world(dtype, device)
    weight = normal(5, (sum(WIDTHS), K), made.x)
    bias = normal(6, (sum(WIDTHS),), made.x) if biased else None

    def base(x, w, b):
        return functional.linear(x.double(), w.double(), None if b is None else b.double())

    bound = magnitude(made)
    made.y.zero_()
    expected = expanded(made) + base(made.x, weight, bias)
    limit = expanded(bound) + base(bound.x, weight.abs(), None if bias is None else bias.abs())
    near = 1 if dtype == torch.bfloat16 else 4
    assert_near(product(made, weight, bias), expected, limit, near)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("bad", [0, 1, 3])
def test_a_job_that_is_not_finite_stays_in_its_rows(device, bad, value):
    healthy, sick = world(torch.float32, device), world(torch.float32, device)
    weight = normal(5, (sum(WIDTHS), K), healthy.x)
    own = torch.zeros(healthy.layout.tokens, dtype=torch.bool, device=device)
    for rows, slot in healthy.layout.parts():
        if slot == bad:
            own[rows] = True
    sick.x[own] = value
    sick.s[own] = value
    for (slot, _), member in members(sick):
        if slot == bad:
            member.b.fill_(value)
    expected, found = product(healthy, weight, None), product(sick, weight, None)
    assert torch.equal(found[~own], expected[~own])
    assert not found[own].isfinite().any()


def test_one_bad_row_of_b_is_seen_in_its_column(device):
    made = world(torch.float32, device)
    weight = normal(5, (sum(WIDTHS), K), made.x)
    expected = product(made, weight, None)
    member = made.group.slots[0].members[0]
    member.b[3, 2] = float("nan")
    found = product(made, weight, None)
    own = torch.zeros_like(found, dtype=torch.bool)
    for rows, slot in made.layout.parts():
        if slot == 0:
            own[rows, 3] = True
    assert found[own].isnan().all()
    assert torch.equal(found[~own], expected[~own])


@pytest.mark.parametrize("pays", [True, False])
def test_the_product_of_the_segment_operations_takes_it_where_it_pays(device, pays):
    made = world(torch.float32, device)
    weight = normal(5, (sum(WIDTHS), K), made.x)
    expected = torch_ops.product(made.x, weight, None, made.s, made.group, made.layout)
    present = config("gemm_expand", K, made.x.dtype, device)
    with trying("gemm_expand" if pays else "none", present):
        y = triton_ops.product(made.x, weight, None, made.s, made.group, made.layout)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_without_a_measurement_the_library_makes_the_base_product(device):
    assert not epilogue_pays(4096, torch.bfloat16, torch.device("cpu"))
