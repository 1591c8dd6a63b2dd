"""Rotary embedding in place: a program takes some heads of one row. See pando_kernels.rope."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch


@triton.jit
def rope_kernel(
    x, cos, sin, H, HALF, x_row, x_head, x_column, cos_row, cos_column, sin_row, sin_column,
    HEADS: tl.constexpr, BLOCK: tl.constexpr, INVERSE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    heads = (tl.program_id(1) * HEADS + tl.arange(0, HEADS))[:, None]
    i = tl.arange(0, BLOCK)[None, :]
    c = tl.load(cos + row * cos_row + i * cos_column, mask=i < HALF, other=0.0).to(tl.float32)
    s = tl.load(sin + row * sin_row + i * sin_column, mask=i < HALF, other=0.0).to(tl.float32)
    if INVERSE:
        s = -s
    live = (heads < H) & (i < HALF)
    at = x + row * x_row + heads * x_head + i * x_column
    first = tl.load(at, mask=live, other=0.0).to(tl.float32)
    second = tl.load(at + HALF * x_column, mask=live, other=0.0).to(tl.float32)
    tl.store(at, (first * c - second * s).to(x.dtype.element_ty), mask=live)
    tl.store(at + HALF * x_column, (second * c + first * s).to(x.dtype.element_ty), mask=live)


def rope_(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> None:
    tokens, count, width = x.shape
    block = power_of_two(width // 2)
    heads = max(1, min(power_of_two(count), 1024 // block))
    launch(
        rope_kernel,
        (tokens, -(-count // heads)),
        Config(block, warps=4, stages=1),
        x=x,
        cos=cos,
        sin=sin,
        H=count,
        HALF=width // 2,
        x_row=x.stride(0),
        x_head=x.stride(1),
        x_column=x.stride(2),
        cos_row=cos.stride(0),
        cos_column=cos.stride(1),
        sin_row=sin.stride(0),
        sin_column=sin.stride(1),
        HEADS=heads,
        BLOCK=block,
        INVERSE=inverse,
    )
