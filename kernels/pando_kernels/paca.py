"""PaCA at one linear layer (Woo et al., ICLR 2025), in the delta form that many jobs can share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pando_kernels.dropout import SequenceDropout


@dataclass(frozen=True, slots=True)
class PacaLinear:
    """y += s · x[:, columns] Pᵀ: a trained change of `r` input columns of the frozen weight.

    columns int64 [r], sorted, distinct; P [out, r] starts at zero. There is no down-projection,
    and only the r columns of x are kept for the backward pass.
    """

    columns: Tensor
    p: Tensor
    grad_p: Tensor
    scale: float = 1.0
    needs_input: bool = False

    def forward(self, x: Tensor, y: Tensor, dropout: SequenceDropout | None) -> object:
        """x [t, in], y [t, out] (added to). Returns x[:, columns], [t, r]."""
        part = x.index_select(1, self.columns).to(self.p.dtype)
        if y.dtype == self.p.dtype:
            y.addmm_(part, self.p.t(), alpha=self.scale)
        else:
            y += torch.mm(part, self.p.t()) * self.scale
        return part

    def backward(self, x: Tensor | None, dy: Tensor, dx: Tensor | None, saved: object) -> None:
        """dy [t, out], dx [t, in]; x is not needed."""
        part = cast(Tensor, saved)
        dy = dy.to(self.p.dtype)
        self.grad_p.addmm_(dy.t(), part, alpha=self.scale)
        if dx is not None:
            dx.index_add_(1, self.columns, torch.mm(dy, self.p).to(dx.dtype), alpha=self.scale)
