"""The reference's backward operations are the derivatives of its forward ones, by differences."""

from __future__ import annotations

import pytest
import torch
from numerics import numerical_gradient
from segment_world import Job, World, make_world, members

from pando_kernels import torch_ops
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

JOBS = [
    Job(LoraLinear, 2, dropout=0.4),
    Job(PacaLinear, 3, missing=(1,)),
    Job(LoraLinear, 1),
    Job(PacaLinear, 2, dropout=0.4),
]


@pytest.fixture
def world() -> World:
    segments = [(3, 0), (2, 1), (1, -1), (2, 2), (3, 3)]
    made = make_world(JOBS, segments, (3, 2), 5, torch.float64, torch.device("cpu"))
    for _, member in members(made):
        member.grad_b.zero_()
        if isinstance(member, LoraLinear):
            member.grad_a.zero_()
    return made


def loss(world: World) -> float:
    """The sum of dY · what the adapters add to Y."""
    y = torch.zeros_like(world.y)
    s = torch_ops.shrink(world.x, world.group, world.layout)
    torch_ops.expand(s, world.group, world.layout, y)
    return float((y * world.dy).sum())


def test_every_gradient_is_the_slope(world):
    def slopes(at):
        return numerical_gradient(lambda: loss(world), at)

    s = torch_ops.shrink(world.x, world.group, world.layout)
    ds = torch_ops.reduce(world.dy, s, world.group, world.layout)
    torch_ops.weigh(ds, world.x, world.group, world.layout)
    dx = torch.zeros_like(world.x)
    torch_ops.unshrink(ds, world.group, world.layout, dx)
    torch.testing.assert_close(dx, slopes(world.x), rtol=1e-6, atol=1e-7)
    for _, member in members(world):
        torch.testing.assert_close(member.grad_b, slopes(member.b), rtol=1e-6, atol=1e-7)
        if isinstance(member, LoraLinear):
            torch.testing.assert_close(member.grad_a, slopes(member.a), rtol=1e-6, atol=1e-7)
