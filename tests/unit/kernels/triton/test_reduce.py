"""One pass over dY or two: by bytes, and by a job's own rank."""

from __future__ import annotations

import pytest
import torch
from segment_world import Job, gradients_of_b, make_world, members, reduced

from pando_kernels import triton_ops
from pando_kernels.lora import LoraLinear
from pando_kernels.triton.launch import recorded
from pando_kernels.triton.reduce import narrow_up_to


@pytest.mark.parametrize("block", [32, 64, 128, 256])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_one_pass_is_for_ranks_that_move_fewer_bytes(block, itemsize):
    def saves(rank):
        written_and_read = 2 * 4 * rank
        return written_and_read < block * itemsize

    limit = narrow_up_to(block, itemsize)
    assert all(saves(rank) == (rank <= limit) for rank in (16, 32, 64, 128))


def launched(ranks, device):
    jobs = [Job(LoraLinear, rank) for rank in ranks]
    segments = [(3, j) for j in range(len(jobs))]
    world = make_world(jobs, segments, (8,), 8, torch.bfloat16, device)
    names = []
    with recorded(lambda kernel, arguments, config: names.append(kernel.__name__)):
        triton_ops.reduce(world.dy, world.s, world.group, world.layout)
    return names


def test_only_the_ways_that_jobs_need_are_launched(device):
    one_pass = ["reduce_tile_kernel", "sum_db_kernel", "sum_ds_kernel"]
    two_passes = ["reduce_pass_kernel", "reduce_tile_kernel", "sum_db_kernel"]
    assert launched([3, 16], device) == one_pass
    assert launched([100, 128], device) == two_passes
    assert launched([3, 100], device) == one_pass + two_passes


def test_both_ways_in_one_launch_are_right(device):
    """fp64 is the measure; the numbers are small integers, so that every sum is exact."""
    jobs = [Job(LoraLinear, 2, scale=2.0), Job(LoraLinear, 100, scale=0.5)]
    world = make_world(jobs, [(70, 0), (66, 1)], (20, 9), 8, torch.float32, device)
    for tensor in (world.dy, world.s):
        tensor.round_()
    for _, member in members(world):
        member.b.round_()
        member.grad_b.round_()
    expected, grads = reduced(world), gradients_of_b(world)
    ds = triton_ops.reduce(world.dy, world.s, world.group, world.layout)
    assert torch.equal(ds.double(), expected)
    assert all(torch.equal(member.grad_b.double(), grads[key]) for key, member in members(world))
