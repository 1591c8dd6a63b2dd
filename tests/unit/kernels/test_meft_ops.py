"""A sparse memory's products equal dense ones in fp64, by torch and by Triton."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from expert_visits import Case, Shape, dense_combine, dense_lookup, dense_weigh, make_case
from numerics import normal
from torch import Tensor
from triton_interpreter import device as gpu
from triton_interpreter import mend_bf16

from pando_kernels.meft import torch_expert_ops, triton_expert_ops
from pando_kernels.meft.expert_ops import Blocks, ExpertOps, expert_ops, using
from pando_kernels.triton import meft_combine

mend_bf16()

SHAPES = {
    "no-token": Shape(0, 4, 2, 3, 9),
    "one-token": Shape(1, 4, 2, 11, 20),
    "one-row-an-expert": Shape(5, 7, 3, 1, 33),
    "one-expert": Shape(127, 1, 1, 3, 9),
    "all-experts": Shape(5, 3, 3, 11, 130),
    "odd": Shape(127, 5, 2, 70, 17),
    "whole-tiles": Shape(40, 6, 4, 64, 64),
    "long": Shape(300, 3, 2, 16, 40),
}
#: Of the sum of the terms' sizes: what a result, or a weight, may lose when it is rounded.
ROUNDING = {torch.float32: 1e-5, torch.float16: 2**-10, torch.bfloat16: 2**-7}


@dataclass(frozen=True, slots=True)
class Backend:
    ops: ExpertOps
    device: torch.device


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "torch":
        return Backend(torch_expert_ops, torch.device("cpu"))
    return Backend(triton_expert_ops, gpu())


def assert_near(found: Tensor, expected: Tensor, size: Tensor, dtype: torch.dtype) -> None:
    assert bool(((found - expected).abs() <= ROUNDING[dtype] * size + 1e-6).all())


def check_lookup(ops: ExpertOps, case: Case) -> None:
    out = torch.full_like(case.weights, 7.0)
    ops.lookup(case.x, case.blocks, case.visits, out)
    mine = case.at_hand
    expected, size = dense_lookup(case), dense_lookup(case, size=True)
    assert_near(out[mine], expected[mine], size[mine], case.x.dtype)
    assert bool((out[~mine] == 7.0).all())


def check_combine(ops: ExpertOps, case: Case) -> None:
    y = normal(5, *case.x.shape, dtype=torch.float32).to(case.x.device)
    expected, size = y + dense_combine(case), y.abs() + dense_combine(case, size=True)
    ops.combine(case.weights, case.blocks, case.visits, y)
    assert_near(y, expected, size, case.x.dtype)


def check_weigh(ops: ExpertOps, case: Case) -> None:
    gradient = case.gradient()
    expected, size = (
        start + dense_weigh(case, sized)
        for start, sized in ((gradient.table.double(), False), (gradient.table.abs(), True))
    )
    ops.weigh(case.weights, case.x, case.visits, gradient)
    assert_near(gradient.table, expected, size, case.x.dtype)


CHECKS = {"lookup": check_lookup, "combine": check_combine, "weigh": check_weigh}


@pytest.fixture(params=list(CHECKS))
def check(request: pytest.FixtureRequest):
    return CHECKS[request.param]


@pytest.mark.parametrize("some_at_hand", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_it_equals_the_dense_formula(backend, check, shape, some_at_hand):
    check(backend.ops, make_case(shape, torch.float32, backend.device, some_at_hand))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", ["odd", "whole-tiles"])
def test_it_does_in_half_precision(backend, check, shape, dtype):
    check(backend.ops, make_case(SHAPES[shape], dtype, backend.device, some_at_hand=True))


def test_rows_of_activations_may_lie_apart(backend, check):
    case = make_case(SHAPES["odd"], torch.float32, backend.device)
    apart = torch.cat([case.x, case.x], 1)[:, : case.shape.d]
    check(backend.ops, replace(case, x=apart))


def test_sums_for_a_base_in_half_precision_are_rounded_once(backend):
    """Where there are no roundings on the way, that is: Triton's."""
    case = make_case(SHAPES["whole-tiles"], torch.bfloat16, backend.device)
    y = case.x.clone()
    expected, size = y + dense_combine(case), y.abs() + dense_combine(case, size=True)
    backend.ops.combine(case.weights, case.blocks, case.visits, y)
    assert y.dtype == torch.bfloat16
    assert_near(y, expected, size, torch.bfloat16)


def test_nobody_at_hand_changes_nothing(backend):
    case = make_case(SHAPES["odd"], torch.float32, backend.device)
    nowhere = torch.full((case.shape.experts,), -1, dtype=torch.int32, device=backend.device)
    nobody = replace(case, blocks=Blocks(torch.full_like(case.blocks.table, torch.nan), nowhere))
    out, y, gradient = case.weights.clone(), case.x.clone(), nobody.gradient()
    kept = gradient.table.clone()
    backend.ops.lookup(case.x, nobody.blocks, case.visits, out)
    backend.ops.combine(case.weights, nobody.blocks, case.visits, y)
    backend.ops.weigh(case.weights, case.x, case.visits, gradient)
    assert torch.equal(out, case.weights)
    assert torch.equal(y, case.x)
    assert torch.equal(gradient.table, kept)


def test_an_expert_nobody_chose_has_no_gradient(backend):
    case = make_case(SHAPES["odd"], torch.float32, backend.device)
    assert not bool(case.visits.probed[0])
    gradient = case.gradient()
    kept = gradient.table.clone()
    backend.ops.weigh(case.weights, case.x, case.visits, gradient)
    assert torch.equal(gradient.table[0], kept[0])
    assert not torch.equal(gradient.table[1], kept[1])


def results(ops: ExpertOps, case: Case) -> dict[str, Tensor]:
    out, y, gradient = (
        torch.zeros_like(case.weights),
        case.x.to(torch.float32, copy=True),
        case.gradient(),
    )
    ops.lookup(case.x, case.blocks, case.visits, out)
    ops.combine(case.weights, case.blocks, case.visits, y)
    ops.weigh(case.weights, case.x, case.visits, gradient)
    return {"lookup": out, "combine": y, "weigh": gradient.table}


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_token_that_is_not_finite_changes_no_other(backend):
    case = make_case(SHAPES["odd"], torch.bfloat16, backend.device)
    token, others = 41, torch.arange(case.shape.tokens, device=backend.device) != 41
    sick = replace(case, x=case.x.clone(), weights=case.weights.clone())
    sick.x[token] = sick.weights[token] = float("nan")
    healthy, found = results(backend.ops, case), results(backend.ops, sick)
    for name in ("lookup", "combine"):
        assert torch.equal(found[name][others], healthy[name][others])
        assert bool(found[name][token].isnan().all())
    visited = case.visits.experts[token].tolist()
    for e in range(case.shape.experts):
        if e in visited:
            assert bool(found["weigh"][e].isnan().all())
        else:
            assert torch.equal(found["weigh"][e], healthy["weigh"][e])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_an_expert_that_is_not_finite_changes_no_token_that_passes_it_by(backend):
    case = make_case(SHAPES["odd"], torch.bfloat16, backend.device)
    table = case.blocks.table.clone()
    table[2] = float("inf")
    healthy = results(backend.ops, case)
    found = results(backend.ops, replace(case, blocks=Blocks(table)))
    own = case.visits.experts == 2
    assert torch.equal(found["lookup"][~own], healthy["lookup"][~own])
    passing = ~own.any(1)
    assert bool(passing.any())
    assert torch.equal(found["combine"][passing], healthy["combine"][passing])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiled_sums_are_the_same_bits_however_much_is_made_at_a_time(monkeypatch, dtype):
    case = make_case(Shape(30, 4, 2, 20, 300), dtype, gpu())
    once = results(triton_expert_ops, case)
    monkeypatch.setattr(meft_combine, "SCRATCH_BYTES", 1)
    again = results(triton_expert_ops, case)
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name])


def test_a_memory_takes_the_backend_of_its_device():
    assert expert_ops(torch.device("cpu")) is torch_expert_ops
    assert expert_ops(torch.device("cuda")) is triton_expert_ops
    with using(triton_expert_ops):
        assert expert_ops(torch.device("cpu")) is triton_expert_ops
