"""Kernels drop exactly what `pando_kernels.dropout` says."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from pando_kernels.dropout import RowKeys, keep_mask, threshold
from pando_kernels.triton.philox import keep_columns, keep_tile, signed

ROWS, WIDTH = 16, 64
FIRST = 128


@triton.jit
def tile_kernel(
    sequence, position, kept, first, site, threshold, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    rows, columns = tl.arange(0, ROWS), tl.arange(0, WIDTH)
    keep = keep_tile(
        tl.load(sequence + rows), tl.load(position + rows), first, site, threshold, ROWS, WIDTH
    )
    tl.store(kept + rows[:, None] * WIDTH + columns[None, :], keep.to(tl.int8))


@triton.jit
def columns_kernel(
    sequence, position, columns, kept, site, threshold, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    rows, i = tl.arange(0, ROWS), tl.arange(0, WIDTH)
    chosen = tl.load(columns + i)
    keep = keep_columns(tl.load(sequence + rows), tl.load(position + rows), chosen, site, threshold)
    tl.store(kept + rows[:, None] * WIDTH + i[None, :], keep.to(tl.int8))


@pytest.fixture
def keys(device):
    rng = torch.Generator().manual_seed(3)
    limits = torch.iinfo(torch.int64)
    sequence = torch.randint(limits.min, limits.max, (ROWS,), generator=rng)
    position = torch.randint(0, 2**31 - 1, (ROWS,), generator=rng)
    return RowKeys(sequence.to(device), position.to(device))


@pytest.mark.parametrize("site", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("p", [0.05, 0.5])
def test_a_tile_is_of_the_mask(keys, site, p):
    kept = torch.empty(ROWS, WIDTH, dtype=torch.int8, device=keys.position.device)
    tile_kernel[(1,)](
        keys.sequence, keys.position, kept, FIRST, signed(site), threshold(p), ROWS, WIDTH
    )
    expected = keep_mask(keys, site, FIRST + WIDTH, p)[:, FIRST:]
    assert torch.equal(kept.bool(), expected)


def test_columns_are_of_the_mask(keys):
    rng = torch.Generator().manual_seed(4)
    columns = torch.randperm(1000, generator=rng)[:WIDTH].to(keys.position.device)
    kept = torch.empty(ROWS, WIDTH, dtype=torch.int8, device=columns.device)
    columns_kernel[(1,)](
        keys.sequence, keys.position, columns, kept, signed(2**31 + 5), threshold(0.3), ROWS, WIDTH
    )
    assert torch.equal(kept.bool(), keep_mask(keys, 2**31 + 5, 1000, 0.3)[:, columns])


@pytest.mark.parametrize("site", [0, 5, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_site_keeps_its_bits(site):
    assert -(2**31) <= signed(site) < 2**31
    assert signed(site) % 2**32 == site
