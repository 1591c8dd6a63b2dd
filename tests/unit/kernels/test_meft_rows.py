"""Rows go where orders say, and nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from numerics import normal
from torch import Tensor
from triton_interpreter import device as gpu
from triton_interpreter import mend_bf16

from pando_kernels.backend import always_triton
from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.row_copies import Fetch, Push, fetch_rows, push_rows

mend_bf16()

#: experts, rows an expert, width
SHAPES = [(1, 1, 9), (3, 11, 130), (5, 70, 16), (0, 3, 9)]
BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(params=["torch", "triton"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    with always_triton() if request.param == "triton" else nullcontext():
        yield gpu() if request.param == "triton" else torch.device("cpu")


def on_host(rows: Tensor) -> Tensor:
    return rows.pin_memory() if torch.cuda.is_available() else rows


def make_blocks(
    shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, some: bool
) -> Blocks:
    """All experts in order, or all but one in disorder."""
    table = normal(1, *shape, dtype=dtype).to(device)
    if not some:
        return Blocks(table)
    where = torch.randperm(shape[0], generator=torch.Generator().manual_seed(2)).int()
    where[-1:] = -1
    return Blocks(table, where.to(device))


def make_orders(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(0, 3, shape[:2], generator=rng, dtype=torch.int8).to(device)


def places(blocks: Blocks, experts: int) -> list[int]:
    return list(range(experts)) if blocks.where is None else blocks.where.tolist()


def fetched(source: Tensor, orders: Tensor, blocks: Blocks) -> Tensor:
    """Row by row."""
    table = blocks.table.clone()
    for e, block in enumerate(places(blocks, source.shape[0])):
        for row, order in enumerate(orders[e].tolist()):
            if block >= 0 and order == Fetch.COPY:
                table[block, row] = source[e, row].to(table.device)
            elif block >= 0 and order == Fetch.CLEAR:
                table[block, row] = 0.0
    return table


def pushed(blocks: Blocks, orders: Tensor, target: Tensor) -> Tensor:
    """Row by row."""
    rows = target.clone()
    for e, block in enumerate(places(blocks, target.shape[0])):
        for row, order in enumerate(orders[e].tolist()):
            if block >= 0 and order == Push.WRITE:
                rows[e, row] = blocks.table[block, row].cpu()
            elif block >= 0 and order == Push.ADD:
                rows[e, row] += blocks.table[block, row].cpu()
    return rows


@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("types", [(FP32, FP32), (FP32, BF16), (BF16, BF16)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_are_fetched_as_ordered(device, shape, types, some):
    source = on_host(normal(4, *shape, dtype=types[0]))
    blocks, orders = make_blocks(shape, types[1], device, some), make_orders(shape, device)
    expected = fetched(source, orders, blocks)
    fetch_rows(source, orders, blocks)
    assert torch.equal(blocks.table, expected)


@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("dtype", [FP32, BF16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_are_pushed_as_ordered(device, shape, dtype, some):
    target = on_host(normal(4, *shape, dtype=FP32))
    blocks, orders = make_blocks(shape, dtype, device, some), make_orders(shape, device)
    expected = pushed(blocks, orders, target)
    push_rows(blocks, orders, target)
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert torch.equal(target, expected)


@pytest.mark.parametrize("apart", ["one-for-all-rows", "every-other"])
def test_orders_may_have_any_strides(device, apart):
    shape = (4, 6, 20)
    orders = make_orders((4, 12, 20), device)
    orders = orders[:, :1].expand(-1, 6) if apart == "one-for-all-rows" else orders[:, ::2]
    source, target = (on_host(normal(seed, *shape, dtype=FP32)) for seed in (4, 5))
    blocks = make_blocks(shape, FP32, device, some=True)
    expected = pushed(blocks, orders, target)
    push_rows(blocks, orders, target)
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert torch.equal(target, expected)
    expected = fetched(source, orders, blocks)
    fetch_rows(source, orders, blocks)
    assert torch.equal(blocks.table, expected)


def test_what_is_overwritten_is_not_read(device):
    shape = (3, 4, 9)
    nothing = on_host(torch.full(shape, float("nan")))
    blocks = make_blocks(shape, FP32, device, some=False)
    push_rows(blocks, torch.full((3, 4), Push.WRITE, dtype=torch.int8, device=device), nothing)
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert torch.equal(nothing, blocks.table.cpu())
    nothing.fill_(float("nan"))
    blocks.table.fill_(float("nan"))
    fetch_rows(nothing, torch.full((3, 4), Fetch.CLEAR, dtype=torch.int8, device=device), blocks)
    assert torch.equal(blocks.table, torch.zeros(shape, device=device))


def test_long_rows_are_copied_in_pieces(device):
    shape = (2, 3, 5000)
    source = on_host(normal(4, *shape, dtype=FP32))
    blocks, orders = make_blocks(shape, BF16, device, some=False), make_orders(shape, device)
    expected = fetched(source, orders, blocks)
    fetch_rows(source, orders, blocks)
    assert torch.equal(blocks.table, expected)
