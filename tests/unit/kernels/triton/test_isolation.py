"""What one job computes is the same bits alone, among others, and beside a job that fails."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from segment_world import Job, alone, make_world, members, run

from pando_kernels import triton_ops
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

JOBS = [
    Job(LoraLinear, 3, dropout=0.2),
    Job(PacaLinear, 16),
    Job(LoraLinear, 20, missing=(1,)),
    Job(LoraLinear, 70),
]
SEGMENTS = [(30, 0), (65, 1), (2, -1), (40, 2), (3, 3)]
WIDTHS, K = (16, 7), 40


def world(dtype, device):
    return make_world(JOBS, SEGMENTS, WIDTHS, K, dtype, device)


@cache
def undisturbed(ops, dtype, device):
    """A world, and what the operations made of it."""
    made = world(dtype, device)
    return made, run(ops, made)


def gradients(made):
    """Bits of every gradient."""
    return {
        (key, name): getattr(member, name)
        for key, member in members(made)
        for name in ("grad_a", "grad_b")
        if hasattr(member, name)
    }


def bits(tensor):
    return tensor.view({2: torch.int16, 4: torch.int32}[tensor.element_size()])


def same(left, right):
    return torch.equal(bits(left), bits(right))


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def dtype(request):
    return request.param


def test_alone_is_the_same_as_among_neighbours(device, dtype):
    together, found = undisturbed(triton_ops, dtype, device)
    wide = together.group.rank
    for segment, (slot, (start, stop)) in enumerate(
        zip(
            together.layout.slots,
            zip(together.layout.starts, together.layout.starts[1:], strict=False),
            strict=True,
        )
    ):
        if slot < 0:
            continue
        by_itself = alone(world(dtype, device), segment)
        expected = run(triton_ops, by_itself)
        narrow = by_itself.group.rank
        for name in ("y", "dx"):
            assert same(found[name][start:stop], expected[name])
        for name in ("s", "ds"):
            for g in range(len(WIDTHS)):
                ours = found[name][start:stop, g * wide : g * wide + narrow]
                theirs = expected[name][:, g * narrow : (g + 1) * narrow]
                assert same(ours.contiguous(), theirs.contiguous())
        ours = gradients(together)
        for ((_, g), name), theirs in gradients(by_itself).items():
            assert same(ours[(slot, g), name], theirs)


def test_twice_is_the_same(device, dtype):
    first, found = undisturbed(triton_ops, dtype, device)
    second = world(dtype, device)
    again = run(triton_ops, second)
    for name in found:
        assert same(found[name], again[name])
    theirs = gradients(second)
    assert all(same(tensor, theirs[key]) for key, tensor in gradients(first).items())


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", [0, 1, 3], ids=["lora", "paca", "wide"])
def test_a_job_that_is_not_finite_changes_no_other(ops, device, bad):
    healthy, expected = undisturbed(ops, torch.bfloat16, device)
    sick = world(torch.bfloat16, device)
    segment = sick.layout.slots.index(bad)
    rows = slice(sick.layout.starts[segment], sick.layout.starts[segment + 1])
    for name in ("x", "y", "dy", "dx"):
        getattr(sick, name)[rows] = float("nan")
    for name in ("s", "ds"):
        tensor = getattr(sick, name)[rows]
        tensor[tensor != 0] = float("inf")
    for (slot, _), member in members(sick):
        if slot == bad:
            member.b.fill_(float("nan"))
            if isinstance(member, LoraLinear):
                member.a.fill_(float("inf"))
    found = run(ops, sick)
    others = torch.ones(healthy.layout.tokens, dtype=torch.bool, device=device)
    others[rows] = False
    for name in expected:
        assert same(found[name][others], expected[name][others])
    theirs = gradients(healthy)
    for ((slot, g), name), tensor in gradients(sick).items():
        assert slot == bad or same(tensor, theirs[(slot, g), name])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", [0, 1, 3], ids=["lora", "paca", "wide"])
def test_columns_beyond_the_rank_stay_zero_where_a_job_is_not_finite(ops, device, bad):
    sick = world(torch.bfloat16, device)
    sick.x.fill_(float("nan"))
    sick.dy.fill_(float("inf"))
    for _, member in members(sick):
        member.b.fill_(float("nan"))
    rank = sick.group.rank
    s, ds = (
        f.view(-1, len(WIDTHS), rank)
        for f in (
            ops.shrink(sick.x, sick.group, sick.layout),
            ops.reduce(sick.dy, sick.s, sick.group, sick.layout),
        )
    )
    segment = sick.layout.slots.index(bad)
    rows = slice(sick.layout.starts[segment], sick.layout.starts[segment + 1])
    assert not s[rows, :, JOBS[bad].rank :].any()
    assert not ds[rows, :, JOBS[bad].rank :].any()
