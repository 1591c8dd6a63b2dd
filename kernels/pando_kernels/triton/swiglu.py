"""Gated activations: a program takes a stretch of one row. See pando_kernels.swiglu."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.triton.activations import activated
from pando_kernels.triton.arguments import readable, writable
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch


@triton.jit
def _stretch(M, BLOCK: tl.constexpr):
    """(row int64, columns [BLOCK], which exist)."""
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return tl.program_id(0).to(tl.int64), columns, columns < M


@triton.jit
def swiglu_kernel(gate_up, act, M, stride, BLOCK: tl.constexpr, GELU: tl.constexpr):
    row, columns, live = _stretch(M, BLOCK)
    at = gate_up + row * stride + columns
    active, _ = activated(tl.load(at, mask=live, other=0.0).to(tl.float32), GELU)
    active *= tl.load(at + M, mask=live, other=0.0).to(tl.float32)
    tl.store(act + row * M + columns, active.to(act.dtype.element_ty), mask=live)


@triton.jit
def swiglu_backward_kernel(
    dact, gate_up, M, dact_stride, stride, BLOCK: tl.constexpr, GELU: tl.constexpr
):
    row, columns, live = _stretch(M, BLOCK)
    at = gate_up + row * stride + columns
    active, slope = activated(tl.load(at, mask=live, other=0.0).to(tl.float32), GELU)
    up = tl.load(at + M, mask=live, other=0.0).to(tl.float32)
    d = tl.load(dact + row * dact_stride + columns, mask=live, other=0.0).to(tl.float32)
    tl.store(at, (d * up * slope).to(gate_up.dtype.element_ty), mask=live)
    tl.store(at + M, (d * active).to(gate_up.dtype.element_ty), mask=live)


def _shape(tokens: int, m: int) -> tuple[tuple[int, int], Config]:
    block = min(1024, power_of_two(m))
    return (tokens, -(-m // block)), Config(block, warps=4, stages=1)


def swiglu(gate_up: Tensor, activation: str) -> Tensor:
    gate_up = readable(gate_up)
    tokens, m = gate_up.shape[0], gate_up.shape[1] // 2
    act = gate_up.new_empty(tokens, m)
    grid, config = _shape(tokens, m)
    launch(
        swiglu_kernel,
        grid,
        config,
        gate_up=gate_up,
        act=act,
        M=m,
        stride=gate_up.stride(0),
        BLOCK=config.block,
        GELU=activation == "gelu_tanh",
    )
    return act


def swiglu_backward(dact: Tensor, gate_up: Tensor, activation: str) -> Tensor:
    dact = readable(dact)
    tokens, m = dact.shape
    grid, config = _shape(tokens, m)
    launch(
        swiglu_backward_kernel,
        grid,
        config,
        dact=dact,
        gate_up=writable(gate_up),
        M=m,
        dact_stride=dact.stride(0),
        stride=gate_up.stride(0),
        BLOCK=config.block,
        GELU=activation == "gelu_tanh",
    )
    return gate_up
