"""What `aot.py` compiles of the kernels between products, at the widths of an 8B model."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pando_kernels.adamw import AdamWSettings, AdamWSlot, adamw_many
from pando_kernels.backend import always_triton
from pando_kernels.cross_entropy import cross_entropy_
from pando_kernels.rms_norm import add_rms_norm, rms_norm, rms_norm_backward
from pando_kernels.rope import rope_
from pando_kernels.swiglu import Activation, swiglu, swiglu_backward

TOKENS, HEADS, HEAD_WIDTH, INNER = 4, 40, 128, 14336
BF16 = torch.bfloat16


def norms(width: int, offset: float) -> None:
    x, weight = torch.zeros(TOKENS, width, dtype=BF16), torch.zeros(width, dtype=BF16)
    with always_triton():
        y, rstd = rms_norm(x, weight, 1e-6, offset)
        add_rms_norm(x, y, weight, 1e-6, offset)
        rms_norm_backward(y, x, weight, rstd, offset)
        rms_norm_backward(y, x, weight, rstd, offset, x.clone())


def activation(kind: Activation) -> None:
    gate_up = torch.zeros(TOKENS, 2 * INNER, dtype=BF16)
    with always_triton():
        swiglu_backward(swiglu(gate_up, kind), gate_up, kind)


def rotation() -> None:
    """Of q and k in qkv, there and back."""
    qkv = torch.zeros(TOKENS, HEADS + 8, HEAD_WIDTH, dtype=BF16)
    angles = torch.zeros(TOKENS, HEAD_WIDTH // 2, dtype=BF16)
    with always_triton():
        rope_(qkv[:, :HEADS], angles, angles)
        rope_(qkv[:, :HEADS], angles, angles, inverse=True)


def cross_entropy(vocabulary: int, softcap: float) -> None:
    """In training and in evaluation."""
    logits, labels = torch.zeros(TOKENS, vocabulary, dtype=BF16), torch.zeros(TOKENS).long()
    with always_triton():
        cross_entropy_(logits, labels, torch.ones(TOKENS), softcap)
        cross_entropy_(logits, labels, None, softcap)


def adamw() -> None:
    vectors = [torch.zeros(100_000) for _ in range(4)]
    slot = AdamWSlot(*vectors, vectors[0].to(BF16), 1, 1e-3, AdamWSettings(), 1.0)
    with always_triton():
        adamw_many([slot])


POINTWISE: dict[str, Callable[[], None]] = {
    "norm-4096": lambda: norms(4096, 0.0),
    "norm-16384-gemma": lambda: norms(16384, 1.0),
    "silu": lambda: activation("silu"),
    "gelu": lambda: activation("gelu_tanh"),
    "rope": rotation,
    "cross-entropy": lambda: cross_entropy(128_256, 0.0),
    "cross-entropy-softcap": lambda: cross_entropy(256_000, 30.0),
    "adamw": adamw,
}
