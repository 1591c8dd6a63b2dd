"""A frozen weight as the step needs it: one product forward, one back, and never a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class FrozenWeight(Protocol):
    """W [N, K] in whatever form it is stored; x, y and their gradients have the type `dtype`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def stored(self) -> tuple[Tensor, ...]:
        """Every tensor it keeps, for counting bytes and proving that nothing wrote to them."""
        ...

    def dense(self) -> Tensor:
        """W [N, K] as numbers of `dtype`, for reading only: itself or, if it is packed, a copy."""
        ...

    def column_norms(self) -> Tensor:
        """fp32 [K]: the Euclidean norm of each input's column."""
        ...

    def rows(self, start: int, stop: int) -> FrozenWeight:
        """The weight of output features [start, stop), without a copy."""
        ...

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x [T, K] -> x Wᵀ + bias, [T, N]."""
        ...

    def backward(self, dy: Tensor) -> Tensor:
        """dy [T, N] -> dy W, [T, K]."""
        ...


@dataclass(frozen=True, slots=True)
class DenseWeight:
    """W as it is."""

    weight: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        n, k = self.weight.shape
        return n, k

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    @property
    def stored(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def dense(self) -> Tensor:
        return self.weight

    def column_norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.weight, dim=0, dtype=torch.float32)
        return norms

    def rows(self, start: int, stop: int) -> DenseWeight:
        return DenseWeight(self.weight[start:stop])

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, self.weight, bias)

    def backward(self, dy: Tensor) -> Tensor:
        return torch.mm(dy, self.weight)
