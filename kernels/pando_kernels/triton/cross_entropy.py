"""Cross-entropy of rows of logits, and its gradient in their place: one program a row.

Each lane of a block keeps its own maximum and sum of exponentials while the row passes by, so that
lanes meet once a row and not once a block. See pando_kernels.cross_entropy.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pando_kernels.triton.arguments import writable
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch

#: Below every finite logit; not -inf, which minus itself is NaN.
LOWEST = tl.constexpr(-3.4028234663852886e38)


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def _capped(logits, softcap, CAPS: tl.constexpr):
    return softcap * _tanh(logits / softcap) if CAPS else logits


@triton.jit
def cross_entropy_kernel(
    logits, labels, weights, losses, hits, V, stride, softcap,
    BLOCK: tl.constexpr, CAPS: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    lane = tl.arange(0, BLOCK)
    highest = tl.full((BLOCK,), LOWEST, tl.float32)
    sums = tl.zeros((BLOCK,), tl.float32)
    for first in tl.range(0, V, BLOCK):
        inside = first + lane < V
        found = tl.load(logits + first + lane, mask=inside, other=float("-inf")).to(tl.float32)
        found = _capped(found, softcap, CAPS)
        higher = tl.where(inside, tl.maximum(highest, found), highest)
        sums = sums * tl.exp(highest - higher)
        sums += tl.where(inside, tl.exp(found - higher), 0.0)
        highest = higher
    top = tl.max(highest, 0)
    total = tl.sum(sums * tl.exp(highest - top), 0)
    label = tl.load(labels + row)
    at_label = _capped(tl.load(logits + label).to(tl.float32), softcap, CAPS)
    tl.store(losses + row, tl.log(total) + top - at_label)
    tl.store(hits + row, ((at_label == top) & (total == total)).to(tl.int8))
    if GRADIENT:
        weight = tl.load(weights + row)
        scale = weight / total
        # Every thread must have read the label's logit before one overwrites it.
        tl.debug_barrier()
        for first in tl.range(0, V, BLOCK):
            inside = first + lane < V
            at = logits + first + lane
            found = tl.load(at, mask=inside, other=0.0).to(tl.float32)
            capped = _capped(found, softcap, CAPS)
            gradient = tl.exp(capped - top) * scale
            gradient = tl.where(first + lane == label, gradient - weight, gradient)
            if CAPS:
                bounded = capped / softcap
                gradient *= 1.0 - bounded * bounded
            tl.store(at, gradient.to(logits.dtype.element_ty), mask=inside)


def cross_entropy_(
    logits: Tensor, labels: Tensor, weights: Tensor | None, softcap: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    rows, vocabulary = logits.shape
    losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
    hits = torch.empty(rows, dtype=torch.int8, device=logits.device)
    block = min(4096, power_of_two(vocabulary))
    launch(
        cross_entropy_kernel,
        (rows,),
        Config(block, warps=8, stages=1),
        logits=writable(logits),
        labels=labels,
        weights=losses if weights is None else weights,
        losses=losses,
        hits=hits,
        V=vocabulary,
        stride=logits.stride(0),
        softcap=softcap or 1.0,
        BLOCK=block,
        CAPS=softcap > 0.0,
        GRADIENT=weights is not None,
    )
    return losses, hits.view(torch.bool), None if weights is None else logits
