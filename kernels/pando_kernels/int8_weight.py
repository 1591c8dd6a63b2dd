"""A frozen weight in eight bits a number, with one scale a row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Rows quantised at once: bounds the fp32 copies that are made meanwhile.
_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """W [N, K] = scale · codes: codes int8 [N, K] in ±127, scale fp32 [N, 1].

    The row's largest magnitude is 127 (vector-wise quantisation without outlier columns; Dettmers
    et al., arXiv 2208.07339, section 2). Activations stay as they are.
    """

    codes: Tensor
    scale: Tensor
    dtype: torch.dtype

    @classmethod
    @torch.no_grad()
    def quantize(cls, weight: Tensor, dtype: torch.dtype) -> Int8Weight:
        """weight [N, K], where the result shall be; `dtype` is computed in."""
        largest = torch.linalg.vector_norm(weight, torch.inf, dim=1, keepdim=True).float()
        scale = torch.where(largest > 0, largest / 127, 1.0)
        codes = torch.empty_like(weight, dtype=torch.int8, memory_format=torch.contiguous_format)
        pieces = zip(codes.split(_ROWS), weight.split(_ROWS), scale.split(_ROWS), strict=True)
        for target, rows, row_scale in pieces:
            target.copy_((rows / row_scale).round_())
        return cls(codes, scale, dtype)

    @property
    def shape(self) -> tuple[int, int]:
        n, k = self.codes.shape
        return n, k

    @property
    def stored(self) -> tuple[Tensor, ...]:
        return self.codes, self.scale

    def dense(self) -> Tensor:
        """A copy of W, which is what the products use and lives no longer than they run."""
        copy = torch.empty_like(self.codes, dtype=self.dtype)
        if self.codes.is_cuda:
            return torch.mul(self.codes, self.scale, out=copy)
        return copy.copy_(self.codes).mul_(self.scale)  # as above, it would make a second copy

    def column_norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.dense(), dim=0, dtype=torch.float32)
        return norms

    def rows(self, start: int, stop: int) -> Int8Weight:
        return Int8Weight(self.codes[start:stop], self.scale[start:stop], self.dtype)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, self.dense(), bias)

    def backward(self, dy: Tensor) -> Tensor:
        return torch.mm(dy, self.dense())
