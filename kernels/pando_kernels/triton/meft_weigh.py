"""Gradients of experts' rows: a program sums all visits to one expert, so nothing else adds."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits
from pando_kernels.triton.arguments import readable
from pando_kernels.triton.configs import config, power_of_two
from pando_kernels.triton.launch import launch
from pando_kernels.triton.meft_tiles import placed


@triton.jit
def meft_weigh_kernel(
    weights, x, gradient, order, starts, where, stride, d, c,
    PROBES: tl.constexpr, PLACED: tl.constexpr, ROWS: tl.constexpr, BC: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """Program (expert, tile of BN columns of d, BC of the expert's rows).

    All experts pass over the same columns of X at about the same time, while they are in the
    second-level cache.
    """
    e = tl.program_id(0)
    block = tl.load(where + e).to(tl.int64) if PLACED else e.to(tl.int64)
    start = tl.load(starts + e)
    stop = tl.load(starts + e + 1)
    if (block < 0) | (start >= stop):
        return
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    i = tl.program_id(2) * BC + tl.arange(0, BC)
    acc = tl.zeros((BC, BN), tl.float32)
    for first in tl.range(start, stop, ROWS):
        rows = first + tl.arange(0, ROWS)
        live = rows < stop
        visits = tl.load(order + rows, mask=live, other=0)
        at = weights + visits[:, None] * c + i[None, :]
        left = tl.load(at, mask=live[:, None] & (i < c)[None, :], other=0.0)
        at = x + (visits // PROBES)[:, None] * stride + n[None, :]
        right = tl.load(at, mask=live[:, None] & (n < d)[None, :], other=0.0)
        acc = tl.dot(tl.trans(left), right, acc, input_precision="ieee")
    at = gradient + (block * c + i)[:, None] * d + n[None, :]
    inside = (i < c)[:, None] & (n < d)[None, :]
    tl.store(at, tl.load(at, mask=inside, other=0.0) + acc, mask=inside)


def weigh(weights: Tensor, x: Tensor, visits: Visits, gradient: Blocks) -> None:
    """See `ExpertOps.weigh`. Weights are rounded to X's type; they and the table are contiguous."""
    x, c, d = readable(x), weights.shape[2], x.shape[1]
    chosen = config("meft_weigh", d, x.dtype, x.device)
    columns = max(16, min(chosen.columns, power_of_two(c)))
    experts = visits.starts.shape[0] - 1
    launch(
        meft_weigh_kernel,
        (experts, -(-d // chosen.block), -(-c // columns)),
        chosen,
        weights=weights.to(x.dtype),  # once: each tile of columns reads all
        x=x,
        gradient=gradient.table,
        order=visits.order,
        starts=visits.starts,
        stride=x.stride(0),
        d=d,
        c=c,
        PROBES=visits.probes,
        ROWS=chosen.rows,
        BC=columns,
        BN=chosen.block,
        **placed(gradient, visits.starts),
    )
