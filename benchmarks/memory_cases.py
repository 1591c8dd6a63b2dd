"""What `aot.py` compiles of a sparse memory's kernels, at the width of an 8B model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from pando_kernels.backend import always_triton
from pando_kernels.meft import triton_expert_ops as ops
from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.row_copies import fetch_rows, push_rows
from pando_kernels.meft.visits import visits_of

TOKENS, D, EXPERTS, PROBES, TOP_K = 64, 4096, 64, 8, 64


def sparse_memory(dtype: torch.dtype, c: int) -> None:
    """Forward and backward of a layer with `c` rows an expert, and the traffic of its rows.

    Half the experts are at hand. Nothing is written to, so that large tables take no room.
    """
    where = torch.arange(EXPERTS, dtype=torch.int32) - EXPERTS // 2
    keys, gradient = (
        Blocks(torch.empty(EXPERTS, c, D, dtype=kind), where) for kind in (dtype, torch.float32)
    )
    visits = visits_of(torch.rand(TOKENS, EXPERTS), PROBES)
    x = torch.zeros(TOKENS, D, dtype=dtype)
    products = torch.zeros(TOKENS, PROBES, c)
    ops.lookup(x, keys, visits, products)
    activations = ops.select(products, visits.gates, TOP_K)
    ops.combine(activations, keys, visits, x)
    ops.unselect(products.clone(), activations, products, visits.gates)
    ops.weigh(activations, x, visits, gradient)
    host = torch.empty(EXPERTS, c, D)
    orders = torch.zeros(EXPERTS, c, dtype=torch.int8)
    with always_triton():
        fetch_rows(torch.empty_like(keys.table), orders, keys)
        push_rows(gradient, orders[:, :1].expand(-1, c), host)


def long_selection() -> None:
    """Of 16384 numbers a token."""
    ops.select(torch.zeros(2, 8, 2048), torch.zeros(2, 8), TOP_K)


SPARSE_MEMORY: dict[str, Callable[[], None]] = {
    "meft-bf16-64": partial(sparse_memory, torch.bfloat16, 64),
    "meft-bf16-256": partial(sparse_memory, torch.bfloat16, 256),
    "meft-fp32-64": partial(sparse_memory, torch.float32, 64),
    "meft-select-16384": long_selection,
}
