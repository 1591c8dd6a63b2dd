"""PaCA at one linear layer (Woo et al., ICLR 2025), in the delta form that many jobs can share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PacaLinear:
    """y += s · x[:, columns] Pᵀ: a trained change of r input columns of the frozen weight.

    columns int64 [r] are sorted and distinct; P [out, r] starts at zero and is called `b`, because
    everything behind the choice of columns is what LoRA does with B. There is no down-projection,
    and of x only the r columns are kept for the backward pass.
    """

    columns: Tensor
    b: Tensor
    grad_b: Tensor
    scale: float = 1.0
    dropout: float = 0.0

    @property
    def rank(self) -> int:
        return self.b.shape[1]
