"""LoRA at one linear layer (Hu et al., arXiv 2106.09685, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class LoraLinear:
    """y += s · drop(x) Aᵀ Bᵀ.

    A [r, in] and B [out, r] are of the type that the base computes in; `grad_a` and `grad_b`, fp32
    of the same shapes, are accumulated into. Dropout is inverted: what is kept is divided by 1 - p.
    """

    a: Tensor
    b: Tensor
    grad_a: Tensor
    grad_b: Tensor
    scale: float
    dropout: float = 0.0

    @property
    def rank(self) -> int:
        return self.b.shape[1]
