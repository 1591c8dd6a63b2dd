"""What a kernel would misread is refused before it is launched."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from segment_world import Job, make_world

from pando_kernels import torch_ops, triton_ops
from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.lora import LoraLinear
from pando_kernels.segment_layout import SegmentLayout


@pytest.fixture
def world(device):
    return make_world([Job(LoraLinear, 4, dropout=0.5)], [(3, 0)], (8,), 8, torch.float32, device)


def with_member(world, **changes):
    """The world's only adapter with other tensors."""
    member = replace(world.group.slots[0].first, **changes)
    return GroupAdapters((SlotAdapter((member,)),), world.group.widths)


def test_adapters_of_another_type(world):
    with pytest.raises(TypeError, match="need adapters of that type"):
        triton_ops.shrink(world.x.bfloat16(), world.group, world.layout)


def test_gradients_of_another_type(world):
    narrow = with_member(world, grad_b=world.group.slots[0].first.grad_b.bfloat16())
    with pytest.raises(TypeError, match="gradients in float32"):
        triton_ops.reduce(world.dy, world.s, narrow, world.layout)


def test_what_runs_forward_only_needs_no_gradients(world):
    """As an adapter that is loaded for sampling, whose gradients are its own 16-bit parameters."""
    first = world.group.slots[0].first
    loaded = with_member(world, grad_a=first.a.bfloat16(), grad_b=first.b.bfloat16())
    layout = SegmentLayout(world.layout.starts, world.layout.slots, world.layout.device)
    s = triton_ops.shrink(world.x, loaded, layout)
    torch.testing.assert_close(s, torch_ops.shrink(world.x, loaded, layout))
    y = world.y.clone()
    triton_ops.expand(s, loaded, layout, y)
    expected = world.y.clone()
    torch_ops.expand(s, loaded, layout, expected)
    torch.testing.assert_close(y, expected)
    with pytest.raises(TypeError, match="gradients in float32"):
        triton_ops.weigh(s, world.x, loaded, layout)


def test_parameters_that_are_not_aligned(world):
    b = world.group.slots[0].first.b
    shifted = torch.zeros(b.numel() + 1, device=b.device)[1:].view_as(b)
    with pytest.raises(ValueError, match="aligned to 16 bytes"):
        triton_ops.expand(world.s, with_member(world, b=shifted), world.layout, world.y)


def test_without_keys_there_is_no_dropout(world):
    layout = SegmentLayout(world.layout.starts, world.layout.slots, world.layout.device)
    s = triton_ops.shrink(world.x, world.group, layout)
    torch.testing.assert_close(s, torch_ops.shrink(world.x, world.group, layout))


def test_a_target_whose_rows_are_not_contiguous(world):
    with pytest.raises(ValueError, match="contiguous rows"):
        triton_ops.expand(world.s, world.group, world.layout, world.y.repeat(1, 2)[:, ::2])
