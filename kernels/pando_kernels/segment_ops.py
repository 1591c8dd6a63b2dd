"""What adapters do around one frozen product, all jobs at once; each backend has these functions.

    S  = shrink(X)            [T, C]   LoRA: s · drop(X) Aᵀ     PaCA: s · X[:, columns]
    Y += expand(S)            [T, N]   S Bᵀ, each member's columns of S to its columns of Y
    dS = reduce(dY)           [T, C]   s · dY B, and grad_B += dYᵀ S on the way
    grad_A += weigh(dS, X)             dSᵀ drop(X), for LoRA
    dX += unshrink(dS)        [T, K]   LoRA: drop(dS A)         PaCA: at its columns, dS

C = G · R columns: member g of a group has columns g·R to g·R + r; what is beyond its rank r is zero
in S and dS. Rows of segments without an adapter are zero in S and dS and untouched in Y and dX.
A value of one job never enters another's arithmetic, not even multiplied by zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, cast

import torch
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout


class SegmentOps(Protocol):
    """A backend. X [T, K], Y and dY [T, N] of the base's type; S and dS [T, C] of the same."""

    def shrink(self, x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
        """Returns S."""
        ...

    def product(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        s: Tensor,
        group: GroupAdapters,
        layout: SegmentLayout,
    ) -> Tensor:
        """Returns Y = X Wᵀ + bias + expand(S), in whichever way is quickest; W [N, K]."""
        ...

    def expand(self, s: Tensor, group: GroupAdapters, layout: SegmentLayout, y: Tensor) -> None:
        """Adds to Y in place."""
        ...

    def reduce(self, dy: Tensor, s: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
        """Accumulates grad_B; returns dS."""
        ...

    def weigh(self, ds: Tensor, x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
        """Accumulates grad_A."""
        ...

    def unshrink(self, ds: Tensor, group: GroupAdapters, layout: SegmentLayout, dx: Tensor) -> None:
        """Adds to dX in place."""
        ...


_chosen: ContextVar[SegmentOps | None] = ContextVar("pando_segment_ops", default=None)


def segment_ops(device: torch.device) -> SegmentOps:
    """The backend for tensors of this device: Triton on a GPU, torch elsewhere."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if device.type == "cuda":
        from pando_kernels import triton_ops  # Triton may be absent where there is no GPU

        return cast(SegmentOps, triton_ops)
    from pando_kernels import torch_ops

    return cast(SegmentOps, torch_ops)


@contextmanager
def using(ops: SegmentOps) -> Iterator[None]:
    """Run with this backend whatever the device: how tests take Triton's interpreter."""
    token = _chosen.set(ops)
    try:
        yield
    finally:
        _chosen.reset(token)
