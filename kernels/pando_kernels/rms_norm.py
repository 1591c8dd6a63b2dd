"""RMS norm with a frozen weight (Zhang and Sennrich, arXiv 1910.07467), forward and backward.

As transformers computes it, statistics in fp32: Llama's rounds x / rms to x's type and then
multiplies by the weight; Gemma's (offset 1) multiplies by 1 + weight in fp32 and rounds once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pando_kernels.backend import runs_triton


def rms_norm(
    x: Tensor, weight: Tensor, epsilon: float, offset: float = 0.0
) -> tuple[Tensor, Tensor]:
    """x [T, d], weight [d] -> y [T, d] of x's type, and 1 / rms, fp32 [T]."""
    if runs_triton(x):
        from pando_kernels.triton import rms_norm as compiled

        return compiled.rms_norm(x, weight, epsilon, offset)
    wide = _wide(x)
    norm = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    rstd = norm.square_().div_(x.shape[1]).add_(epsilon).rsqrt_()
    y = wide * rstd
    y = y.mul_(_wide(weight) + offset).to(x.dtype) if offset else y.to(x.dtype).mul_(weight)
    return y, rstd.squeeze(1)


def add_rms_norm(
    residual: Tensor, x: Tensor, weight: Tensor, epsilon: float, offset: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The norm of residual + x, both [T, d] -> (the sum, in x's memory; y; 1 / rms)."""
    if runs_triton(x):
        from pando_kernels.triton import rms_norm as compiled

        return compiled.add_rms_norm(residual, x, weight, epsilon, offset)
    x.add_(residual)
    return x, *rms_norm(x, weight, epsilon, offset)


def rms_norm_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    rstd: Tensor,
    offset: float = 0.0,
    add: Tensor | None = None,
) -> Tensor:
    """dy, x [T, d], rstd fp32 [T] -> dx [T, d]; with `add` [T, d], add + dx in add's memory."""
    if runs_triton(x):
        from pando_kernels.triton import rms_norm as compiled

        return compiled.rms_norm_backward(dy, x, weight, rstd, offset, add)
    wide, rstd = _wide(x), rstd[:, None]
    slope = _wide(dy) * (_wide(weight) + offset if offset else weight)
    share = (slope * wide).sum(1, keepdim=True).mul_(rstd.square()).div_(-x.shape[1])
    slope.addcmul_(wide, share)  # dx = rstd · (slope - x · rstd² · mean(slope · x))
    if add is None:
        return slope.mul_(rstd).to(x.dtype)
    if add.dtype == slope.dtype:
        return add.addcmul_(slope, rstd)
    return add.add_(slope.mul_(rstd))


def _wide(tensor: Tensor) -> Tensor:
    """fp32, or fp64 as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
