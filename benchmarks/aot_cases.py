"""What `aot.py` compiles: calls as training makes them. Add a case for each new kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from memory_cases import SPARSE_MEMORY
from pointwise_cases import INNER, POINTWISE

from pando_kernels import triton_ops
from pando_kernels.backend import always_triton
from pando_kernels.dropout import RowKeys
from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.pending import Pending
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.swiglu import swiglu, swiglu_backward
from pando_kernels.triton.gemm_expand import gemm_expand

#: Rows matter little to a compiler; the widths are of one layer of an 8B model: q, k, v.
TOKENS, K, WIDTHS = 64, 4096, (4096, 1024, 1024)
CPU = torch.device("cpu")


def lora(
    rank: int, dtype: torch.dtype, dropout: float, widths: tuple[int, ...] = WIDTHS, k: int = K
) -> SlotAdapter:
    members = (
        LoraLinear(
            torch.zeros(rank, k, dtype=dtype),
            torch.zeros(n, rank, dtype=dtype),
            torch.zeros(rank, k),
            torch.zeros(n, rank),
            1.0,
            dropout,
        )
        for n in widths
    )
    return SlotAdapter(tuple(members))


def paca(rank: int, dtype: torch.dtype, dropout: float) -> SlotAdapter:
    members = (
        PacaLinear(
            torch.arange(rank),
            torch.zeros(n, rank, dtype=dtype),
            torch.zeros(n, rank),
            1.0,
            dropout,
        )
        for n in WIDTHS
    )
    return SlotAdapter(tuple(members))


def segment_operations(
    make: Callable[[int, torch.dtype, float], SlotAdapter],
    rank: int,
    dtype: torch.dtype,
    dropout: float = 0.0,
) -> None:
    """Forward and backward of one group with one job."""
    group = GroupAdapters((make(rank, dtype, dropout),), WIDTHS)
    keys = RowKeys(torch.zeros(TOKENS, dtype=torch.int64), torch.arange(TOKENS))
    layout = SegmentLayout((0, TOKENS), (0,), CPU, keys)
    x, y = (torch.zeros(TOKENS, n, dtype=dtype) for n in (K, sum(WIDTHS)))
    s = triton_ops.shrink(x, group, layout)
    triton_ops.expand(s, group, layout, y)
    ds = triton_ops.reduce(y, s, group, layout)
    triton_ops.weigh(ds, x, group, layout)
    triton_ops.unshrink(ds, group, layout, x)


def forward(rank: int, dtype: torch.dtype, widths: tuple[int, ...] = WIDTHS) -> None:
    """Forward of one group with one job."""
    group = GroupAdapters((lora(rank, dtype, 0.0, widths),), widths)
    layout = SegmentLayout((0, TOKENS), (0,), CPU)
    x, y = (torch.zeros(TOKENS, n, dtype=dtype) for n in (K, sum(widths)))
    triton_ops.expand(triton_ops.shrink(x, group, layout), group, layout, y)


def base_product(rank: int, dtype: torch.dtype) -> None:
    """A frozen product with the expansion in its epilogue."""
    group = GroupAdapters((lora(rank, dtype, 0.0),), WIDTHS)
    layout = SegmentLayout((0, TOKENS), (0,), CPU)
    x, w = (torch.zeros(rows, K, dtype=dtype) for rows in (TOKENS, sum(WIDTHS)))
    s = torch.zeros(TOKENS, group.columns, dtype=dtype)
    gemm_expand(x, w, None, s, group, layout)


def gated(rank: int, dtype: torch.dtype, dropout: float = 0.0) -> None:
    """What lies between the products of a network whose adapters' sums are pending there."""
    gate_up, down = (
        GroupAdapters((lora(rank, dtype, dropout, widths, k),), widths)
        for widths, k in (((INNER, INNER), K), ((K,), INNER))
    )
    keys = RowKeys(torch.zeros(TOKENS, dtype=torch.int64), torch.arange(TOKENS))
    layout = SegmentLayout((0, TOKENS), (0,), CPU, keys)
    s, ds = (
        Pending(torch.zeros(TOKENS, group.columns, dtype=dtype), group, layout)
        for group in (gate_up, down)
    )
    y = torch.zeros(TOKENS, 2 * INNER, dtype=dtype)
    with always_triton():
        act = swiglu(y, "silu", s)
        swiglu_backward(act, y, "silu", s, ds)
        if dropout > 0.0:
            swiglu_backward(act, y, "gelu_tanh", s, ds)
        else:
            swiglu_backward(act, y, "silu", None, ds)
            swiglu_backward(act, y, "silu", s, None)


BF16, FP32 = torch.bfloat16, torch.float32

#: Name -> what launches the kernels that are to be compiled. None of them runs.
CASES: dict[str, Callable[[], None]] = {
    "lora-bf16-16": lambda: segment_operations(lora, 16, BF16),
    # As narrow as S can be: neighbours that widen it must not bring in other instructions.
    "lora-bf16-16-single": lambda: forward(16, BF16, WIDTHS[:1]),
    "lora-bf16-128": lambda: segment_operations(lora, 128, BF16),
    "lora-bf16-16-dropout": lambda: segment_operations(lora, 16, BF16, 0.1),
    "paca-bf16-16-dropout": lambda: segment_operations(paca, 16, BF16, 0.1),
    "lora-fp32-16": lambda: forward(16, FP32),
    "gemm-bf16-16": lambda: base_product(16, BF16),
    "gated-bf16-16": lambda: gated(16, BF16),
    "gated-bf16-128": lambda: gated(128, BF16),
    "gated-bf16-16-dropout": lambda: gated(16, BF16, 0.1),
    "gated-fp32-16": lambda: gated(16, FP32, 0.1),
    **POINTWISE,
    **SPARSE_MEMORY,
}
