"""Groups of frozen linears for tests, run under adapters and held against the dense formula."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from dense_adapters import Segments, dense, gradients
from numerics import normal
from torch import Tensor

from pando_kernels.dropout import RowKeys
from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.linear_group import Kept, LinearGroup
from pando_kernels.plan import make_plan


def make_group(
    seed: int,
    inputs: int,
    widths: dict[str, int],
    bias: bool = False,
    dtype: torch.dtype = torch.float64,
) -> LinearGroup:
    """Linears of these output widths, stacked."""
    weight = normal(seed, sum(widths.values()), inputs, dtype=dtype)
    offset = normal(seed + 1, len(weight), dtype=dtype) if bias else None
    return LinearGroup(tuple(widths), tuple(widths.values()), DenseWeight(weight), offset)


def row_keys(seed: int, rows: int) -> RowKeys:
    """Every row a sequence of its own, at any position."""
    rng = torch.Generator().manual_seed(seed)
    keys = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=rng)
    return RowKeys(keys, torch.randint(0, 100_000, (rows,), generator=rng))


@dataclass(frozen=True, slots=True)
class Pass:
    """y [T, N], dx [T, K] if it was wanted, and what was kept in between."""

    y: Tensor
    dx: Tensor | None
    kept: Kept | None


def run(
    group: LinearGroup,
    segments: Segments,
    x: Tensor,
    dy: Tensor,
    keys: RowKeys | None = None,
    wants_dx: bool = True,
) -> Pass:
    """Forward, and backward into the adapters' gradients."""
    plan = make_plan(segments, keys=keys)
    y, kept = group.forward(x, plan)
    return Pass(y, group.backward(dy, kept, plan, None, wants_dx), kept)


def assert_equals_dense(
    group: LinearGroup, segments: Segments, keys: RowKeys | None = None, seed: int = 50
) -> None:
    """Output and all gradients, at random inputs. The adapters' gradients must be zero before."""
    n, k = group.weight.shape
    rows = sum(count for count, _ in segments)
    x = normal(seed, rows, k, dtype=group.weight.dtype)
    dy = normal(seed + 1, rows, n, dtype=group.weight.dtype)
    expected = dense(group, segments, x, dy, keys)
    got = run(group, segments, x, dy, keys)
    assert got.dx is not None
    torch.testing.assert_close(got.y, expected.y)
    torch.testing.assert_close(got.dx, expected.dx)
    for (index, name), wanted in expected.gradients.items():
        for ours, theirs in zip(gradients(segments[index][1][name]), wanted, strict=True):
            torch.testing.assert_close(ours, theirs)
