"""Triton without a GPU: kernels run in its interpreter, on CPU tensors, with bf16 made right.

The interpreter keeps bf16 as raw bits in uint16 and computes on those, silently. `mend_bf16` widens
them where fp32 is meant, rounds to nearest even where bf16 is, and raises on arithmetic that a
kernel would do in bf16.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch


def choose() -> None:
    """Where there is no GPU, take the interpreter: it is read when triton is first imported."""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


def device() -> torch.device:
    """Where the tensors of tests of kernels lie."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def widened(bits: np.ndarray) -> np.ndarray:
    """bf16 in uint16 -> the same numbers in fp32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """fp32 -> bf16 in uint16, to nearest, ties to even; NaN stays NaN."""
    numbers = np.ascontiguousarray(numbers, dtype=np.float32)
    bits = numbers.view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    up = ((bits.astype(np.uint64) + half) >> np.uint64(16)).astype(np.uint16)
    return np.where(np.isnan(numbers), np.uint16(0x7FC0), up)


def mend_bf16() -> None:
    """Change the interpreter of this process; without one, nothing. Doing it twice is harmless."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    if getattr(builder, "pando_bf16", False):
        return
    handle = interpreter.TensorHandle
    dot, cast, reduce = builder.create_dot, builder.cast_impl, interpreter.ReduceOps.apply_impl
    binary, unary = builder.binary_op, builder.unary_op

    def is_bf16(value: Any) -> bool:
        return value.dtype.scalar == tl.bfloat16

    def wide(value: Any) -> Any:
        return handle(widened(value.data), tl.float32) if is_bf16(value) else value

    def refuse(value: Any) -> None:
        if is_bf16(value):
            raise TypeError("arithmetic in bf16: cast to fp32 in the kernel")

    def mended_dot(self: Any, a: Any, b: Any, acc: Any, *rest: Any) -> Any:
        return dot(self, wide(a), wide(b), acc, *rest)

    def mended_cast(self: Any, source: Any, to: Any) -> Any:
        if is_bf16(source) and to.scalar == tl.bfloat16:
            return handle(source.data, tl.bfloat16)
        if to.scalar == tl.bfloat16:
            numbers = cast(self, source, tl.float32)
            return handle(rounded(numbers.data), tl.bfloat16)
        return cast(self, wide(source), to)

    def mended_binary(self: Any, left: Any, right: Any, op: Any) -> Any:
        refuse(left)
        return binary(self, left, right, op)

    def mended_unary(self: Any, value: Any, op: Any) -> Any:
        refuse(value)
        return unary(self, value, op)

    def mended_reduce(self: Any, values: Any) -> Any:
        refuse(values[0])
        return reduce(self, values)

    builder.create_dot, builder.cast_impl = mended_dot, mended_cast
    builder.binary_op, builder.unary_op = mended_binary, mended_unary
    for name in ("create_fp_ext", "create_fp_trunc"):
        setattr(builder, name, lambda self, source, to: self.cast_impl(source, to))
    interpreter.ReduceOps.apply_impl = mended_reduce
    builder.pando_bf16 = True
