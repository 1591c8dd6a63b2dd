"""RMS norm: a program takes whole rows, a few where they are short. See pando_kernels.rms_norm."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.triton.arguments import readable, writable
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch


@triton.jit
def _place(T, D, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """(rows int64 [ROWS, 1], columns [1, BLOCK], which of both exist)."""
    rows = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    return rows, columns, (rows < T) & (columns < D)


@triton.jit
def _factor(weight, columns, D, offset):
    return tl.load(weight + columns, mask=columns < D, other=0.0).to(tl.float32) + offset


@triton.jit(do_not_specialize=["T"])
def rms_norm_kernel(
    x, residual, weight, y, rstd, T, D, x_stride, residual_stride, epsilon, offset,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, ADDS: tl.constexpr, ROUNDS_FIRST: tl.constexpr,
):  # fmt: skip
    """ADDS: x += residual before. ROUNDS_FIRST: x / rms is rounded before it meets the weight."""
    rows, columns, live = _place(T, D, ROWS, BLOCK)
    at = x + rows * x_stride + columns
    wide = tl.load(at, mask=live, other=0.0).to(tl.float32)
    if ADDS:
        more = tl.load(residual + rows * residual_stride + columns, mask=live, other=0.0)
        total = (wide + more.to(tl.float32)).to(x.dtype.element_ty)
        tl.store(at, total, mask=live)
        wide = total.to(tl.float32)
    inverse = tl.rsqrt(tl.sum(wide * wide, 1) / D + epsilon)[:, None]
    normed = wide * inverse
    if ROUNDS_FIRST:
        normed = normed.to(x.dtype.element_ty).to(tl.float32)
    normed *= _factor(weight, columns, D, offset)
    tl.store(y + rows * D + columns, normed.to(y.dtype.element_ty), mask=live)
    tl.store(rstd + rows, inverse, mask=rows < T)


@triton.jit(do_not_specialize=["T"])
def rms_norm_backward_kernel(
    dy, x, weight, rstd, dx, T, D, dy_stride, x_stride, dx_stride, offset,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, ADDS: tl.constexpr,
):  # fmt: skip
    """dx = rstd · (g - x · rstd² · mean(g · x)) with g = dy · weight; ADDS: += instead."""
    rows, columns, live = _place(T, D, ROWS, BLOCK)
    wide = tl.load(x + rows * x_stride + columns, mask=live, other=0.0).to(tl.float32)
    slope = tl.load(dy + rows * dy_stride + columns, mask=live, other=0.0).to(tl.float32)
    slope *= _factor(weight, columns, D, offset)
    inverse = tl.load(rstd + rows, mask=rows < T, other=0.0)
    share = tl.sum(slope * wide, 1)[:, None] * inverse * inverse / D
    found = inverse * (slope - wide * share)
    at = dx + rows * dx_stride + columns
    if ADDS:
        found += tl.load(at, mask=live, other=0.0).to(tl.float32)
    tl.store(at, found.to(dx.dtype.element_ty), mask=live)


def _shape(tokens: int, d: int) -> tuple[int, int, Config]:
    """(programs, rows of one, its size): about 1024 numbers each, if a row is not longer."""
    block = power_of_two(d)
    rows = max(1, 1024 // block)
    warps = 4 if block <= 2048 else 8 if block <= 8192 else 32
    return -(-tokens // rows), rows, Config(block, warps=warps, stages=1)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, offset: float) -> tuple[Tensor, Tensor]:
    return _forward(readable(x), None, weight, epsilon, offset)


def add_rms_norm(
    residual: Tensor, x: Tensor, weight: Tensor, epsilon: float, offset: float
) -> tuple[Tensor, Tensor, Tensor]:
    return writable(x), *_forward(x, readable(residual), weight, epsilon, offset)


def _forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float, offset: float
) -> tuple[Tensor, Tensor]:
    tokens, d = x.shape
    y = x.new_empty(tokens, d)
    rstd = torch.empty(tokens, dtype=torch.float32, device=x.device)
    programs, rows, config = _shape(tokens, d)
    launch(
        rms_norm_kernel,
        (programs,),
        config,
        x=x,
        residual=x if residual is None else residual,
        weight=weight,
        y=y,
        rstd=rstd,
        T=tokens,
        D=d,
        x_stride=x.stride(0),
        residual_stride=0 if residual is None else residual.stride(0),
        epsilon=epsilon,
        offset=offset,
        ROWS=rows,
        BLOCK=config.block,
        ADDS=residual is not None,
        ROUNDS_FIRST=not offset,
    )
    return y, rstd


def rms_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, offset: float, add: Tensor | None
) -> Tensor:
    tokens, d = x.shape
    dy, x = readable(dy), readable(x)
    dx = x.new_empty(tokens, d) if add is None else writable(add)
    programs, rows, config = _shape(tokens, d)
    launch(
        rms_norm_backward_kernel,
        (programs,),
        config,
        dy=dy,
        x=x,
        weight=weight,
        rstd=rstd,
        dx=dx,
        T=tokens,
        D=d,
        dy_stride=dy.stride(0),
        x_stride=x.stride(0),
        dx_stride=dx.stride(0),
        offset=offset,
        ROWS=rows,
        BLOCK=config.block,
        ADDS=add is not None,
    )
    return dx
