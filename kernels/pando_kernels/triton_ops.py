"""The segment operations in Triton: what runs on a GPU. See `segment_ops`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.triton import (
    expand as expand_kernels,
)
from pando_kernels.triton import (
    paca_gather,
    paca_scatter,
)
from pando_kernels.triton import (
    reduce as reduce_kernels,
)
from pando_kernels.triton import (
    shrink as shrink_kernels,
)
from pando_kernels.triton import (
    unshrink as unshrink_kernels,
)
from pando_kernels.triton import (
    weigh as weigh_kernels,
)
from pando_kernels.triton.arguments import (
    check_gradients,
    check_types,
    has_kind,
    readable,
    writable,
)
from pando_kernels.triton.configs import epilogue_pays
from pando_kernels.triton.gemm_expand import gemm_expand


def shrink(x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
    """X [T, K] -> S [T, C]."""
    check_types(group, x.dtype)
    shape = (x.shape[0], group.columns)
    lora, paca = has_kind(group, LoraLinear), has_kind(group, PacaLinear)
    s = x.new_empty(shape) if lora else x.new_zeros(shape)
    if lora:
        shrink_kernels.shrink(readable(x), s, group, layout)
    if paca:
        paca_gather.paca_gather(readable(x), s, group, layout)
    return s


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    s: Tensor,
    group: GroupAdapters,
    layout: SegmentLayout,
) -> Tensor:
    """X [T, K], W [N, K], bias [N], S [T, C] -> Y [T, N]."""
    some = any(slot is not None for slot in group.slots)
    if some and epilogue_pays(x.shape[1], x.dtype, x.device):
        check_types(group, x.dtype)
        return gemm_expand(readable(x), weight, bias, s.contiguous(), group, layout)
    y = functional.linear(x, weight, bias)
    expand(s, group, layout, y)
    return y


def expand(s: Tensor, group: GroupAdapters, layout: SegmentLayout, y: Tensor) -> None:
    """S [T, C] adds to Y [T, N]."""
    check_types(group, y.dtype)
    if any(slot is not None for slot in group.slots):
        expand_kernels.expand(s.contiguous(), writable(y), group, layout)


def reduce(dy: Tensor, s: Tensor, group: GroupAdapters, layout: SegmentLayout) -> Tensor:
    """dY [T, N], S [T, C] -> dS [T, C]; accumulates grad_B."""
    check_types(group, dy.dtype)
    check_gradients(group)
    if all(slot is None for slot in group.slots):
        return s.new_zeros(s.shape)
    ds = s.new_empty(s.shape)
    reduce_kernels.reduce(readable(dy), s.contiguous(), ds, group, layout)
    return ds


def weigh(ds: Tensor, x: Tensor, group: GroupAdapters, layout: SegmentLayout) -> None:
    """dS [T, C], X [T, K]; accumulates grad_A."""
    check_types(group, x.dtype)
    check_gradients(group)
    if has_kind(group, LoraLinear):
        weigh_kernels.weigh(ds.contiguous(), readable(x), group, layout)


def unshrink(ds: Tensor, group: GroupAdapters, layout: SegmentLayout, dx: Tensor) -> None:
    """dS [T, C] adds to dX [T, K]."""
    check_types(group, dx.dtype)
    if has_kind(group, LoraLinear):
        unshrink_kernels.unshrink(ds.contiguous(), writable(dx), group, layout)
    if has_kind(group, PacaLinear):
        paca_scatter.paca_scatter(ds.contiguous(), writable(dx), group, layout)
