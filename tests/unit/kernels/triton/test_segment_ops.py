"""Every operation of every backend equals the dense formula of each job, in fp64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_world import (
    Job,
    assert_near,
    expanded,
    gradients_of_a,
    gradients_of_b,
    magnitude,
    make_world,
    members,
    reduced,
    run,
    shrunk,
    unshrunk,
)
from triton_interpreter import device as tensors_device

from pando_kernels import torch_ops, triton_ops
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16

#: Ranks of every size and kind; a segment that is empty, one of one row, one of no job, and one
#: whose job has no adapter here; 64 and 128 rows on end that begin in one segment, end in another.
MIXED = (
    [
        Job(LoraLinear, 16, dropout=0.1),
        Job(PacaLinear, 3, missing=(1,)),
        None,
        Job(LoraLinear, 100, missing=(0,)),
        Job(LoraLinear, 1),
        Job(PacaLinear, 16, dropout=0.25),
    ],
    [(67, 0), (0, 1), (3, 1), (1, 3), (5, -1), (66, 3), (3, 2), (3, 4), (2, 5)],
    (40, 24, 7),
    136,
)
WORLDS = {
    "mixed": MIXED,
    "aligned": (
        [Job(LoraLinear, 16), Job(PacaLinear, 8), Job(LoraLinear, 24, missing=(1,))],
        [(63, 2), (40, 0), (24, 1)],
        (32, 16),
        128,
    ),
    "long": ([Job(LoraLinear, 100), Job(LoraLinear, 3)], [(2100, 0), (1997, 1)], (16,), 24),
    "one row": ([Job(LoraLinear, 3, dropout=0.5)], [(1, 0)], (5, 3), 9),
    "two segments of a job": ([Job(LoraLinear, 5)], [(2, 0), (0, -1), (67, 0)], (8,), 8),
    "only paca": ([None, Job(PacaLinear, 5)], [(2, 0), (3, 1)], (8, 9), 8),
    "no adapter": ([None], [(5, 0), (3, -1)], (8,), 8),
    "no slot": ([], [(5, -1)], (8,), 8),
    "no row": ([Job(LoraLinear, 3)], [(0, 0)], (8,), 8),
}
CASES = [
    *((name, FP32) for name in WORLDS if name != "long"),
    ("mixed", BF16),
    ("long", BF16),
    ("aligned", BF16),
    ("aligned", FP16),
]


def check(ops, world):
    """Roundings of results: the one at the end, and those of torch's steps of 16 bits between."""
    exact = ops is triton_ops
    near = 1 if exact and world.x.dtype != FP32 else 4
    # A gradient is fp32, but torch makes a product of 16 bits before it is added.
    coarse = torch.finfo(world.x.dtype).eps / torch.finfo(FP32).eps
    near_gradient = 4 if exact else 4 * coarse
    bound = magnitude(world)
    grads_b, bounds_b = gradients_of_b(world), gradients_of_b(bound)
    grads_a, bounds_a = gradients_of_a(world), gradients_of_a(bound)
    found = run(ops, world)
    for name, formula in (("s", shrunk), ("y", expanded), ("ds", reduced), ("dx", unshrunk)):
        assert_near(found[name], formula(world), formula(bound), near)
    for key, member in members(world):
        assert_near(member.grad_b, grads_b[key], bounds_b[key], near_gradient)
        if key in grads_a:
            assert_near(member.grad_a, grads_a[key], bounds_a[key], near_gradient)


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_it_equals_the_dense_formula(ops, device, name, dtype):
    check(ops, make_world(*WORLDS[name], dtype, device))


@settings(max_examples=4, deadline=None)
@given(
    segments=st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 63, 64, 65, 129]), st.integers(-1, 2)),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 100),
)
def test_any_segments_will_do(segments, seed):
    jobs = [Job(LoraLinear, 5), Job(PacaLinear, 2), Job(LoraLinear, 17, dropout=0.3)]
    for ops in (torch_ops, triton_ops):
        check(ops, make_world(jobs, segments, (6,), 10, FP32, tensors_device(), seed))


def test_rows_may_lie_apart(ops, device):
    """X, dY, Y and dX may be columns of something wider."""
    world = make_world(*WORLDS["aligned"], FP32, device)
    group, layout = world.group, world.layout
    k, n = world.x.shape[1], world.y.shape[1]
    wide = torch.zeros(world.x.shape[0], k + n + 8, device=device)
    x, y = wide[:, :k], wide[:, k : k + n]
    x.copy_(world.x)
    y.copy_(world.y)
    s = ops.shrink(x, group, layout)
    assert torch.equal(s, ops.shrink(world.x, group, layout))
    ops.expand(world.s, group, layout, y)
    ops.expand(world.s, group, layout, world.y)
    assert torch.equal(y, world.y)
    assert not wide[:, k + n :].any()
