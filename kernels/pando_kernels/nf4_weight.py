"""A frozen weight in NF4 with double quantisation (QLoRA: Dettmers et al., arXiv 2305.14314).

Needs bitsandbytes, which is optional: import this module where it is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from bitsandbytes import functional as bitsandbytes
from torch import Tensor
from torch.nn import functional

#: Numbers of a row that share a scale; the last block of a row is filled up with zeros.
BLOCK = 64


@dataclass(frozen=True, slots=True)
class Nf4Weight:
    """W [N, K] as 16 levels at quantiles of a normal and a scale a block of 64: 4.13 bits a number.

    codes uint8 [N, 32 B], B = ⌈K / 64⌉: two numbers a byte, the earlier in the upper half. The
    scale of a block is its largest magnitude, held in 8 bits: low + step · scales, with scales
    uint8 [N, B] and low, step fp32 [N, 1]. The paper cuts blocks, of numbers and of scales, from
    the whole weight; here none leaves its row, so that weights can be stacked without changing.
    """

    codes: Tensor
    scales: Tensor
    low: Tensor
    step: Tensor
    columns: int
    dtype: torch.dtype

    @classmethod
    @torch.no_grad()
    def quantize(cls, weight: Tensor, dtype: torch.dtype) -> Nf4Weight:
        """weight [N, K] of 16 or 32 bits, where the result shall be; `dtype` is computed in."""
        n, k = weight.shape
        if k % BLOCK:
            weight = functional.pad(weight, (0, -k % BLOCK))
        codes, state = bitsandbytes.quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, quant_type="nf4"
        )
        largest = state.absmax.view(n, -1)
        low, high = torch.aminmax(largest, dim=1, keepdim=True)
        step = (high - low) / 255
        smallest = torch.finfo(torch.float32).tiny  # a row of equal scales has no step
        scales = ((largest - low) / step.clamp_min(smallest)).round_().to(torch.uint8)
        return cls(codes.view(n, -1), scales, low, step, k, dtype)

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.columns

    @property
    def stored(self) -> tuple[Tensor, ...]:
        return self.codes, self.scales, self.low, self.step

    def dense(self) -> Tensor:
        """A copy of W, which is what the products use and lives no longer than they run."""
        n, half = self.codes.shape
        state = bitsandbytes.QuantState(
            absmax=(self.low + self.step * self.scales).view(-1),
            shape=torch.Size((n, 2 * half)),
            dtype=self.dtype,
            blocksize=BLOCK,
            quant_type="nf4",
        )
        copy: Tensor = bitsandbytes.dequantize_4bit(self.codes.view(-1, 1), state)
        return copy[:, : self.columns]

    def column_norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.dense(), dim=0, dtype=torch.float32)
        return norms

    def rows(self, start: int, stop: int) -> Nf4Weight:
        codes, scales, low, step = (tensor[start:stop] for tensor in self.stored)
        return Nf4Weight(codes, scales, low, step, self.columns, self.dtype)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, self.dense(), bias)

    def backward(self, dy: Tensor) -> Tensor:
        return torch.mm(dy, self.dense())
