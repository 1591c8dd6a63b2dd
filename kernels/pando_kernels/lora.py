"""LoRA at one linear layer (arXiv 2106.09685, section 4.1), forward and backward by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pando_kernels.dropout import SequenceDropout


@dataclass(frozen=True, slots=True)
class LoraLinear:
    """y += s · drop(x) Aᵀ Bᵀ.

    A [r, in], B [out, r]; `grad_a`, `grad_b` of the same shapes are accumulated into. Dropout is
    inverted: kept entries are divided by 1 - p.
    """

    a: Tensor
    b: Tensor
    grad_a: Tensor
    grad_b: Tensor
    scale: float
    dropout: float = 0.0
    needs_input: bool = True

    def forward(self, x: Tensor, y: Tensor, dropout: SequenceDropout | None) -> object:
        """x [t, in], y [t, out] (added to). Returns (s [t, r], keep mask [t, in] or None)."""
        mask = None
        if dropout is not None and self.dropout > 0.0:
            mask = dropout.keep(x, 1.0 - self.dropout)
            x = x * mask
            x /= 1.0 - self.dropout
        s = torch.mm(x.to(self.a.dtype), self.a.t())  # [t, r]
        if y.dtype == self.b.dtype:
            y.addmm_(s, self.b.t(), alpha=self.scale)
        else:
            y += torch.mm(s, self.b.t()) * self.scale
        return s, mask

    def backward(self, x: Tensor | None, dy: Tensor, dx: Tensor | None, saved: object) -> None:
        """x [t, in], dy [t, out], dx [t, in]."""
        s, mask = cast(tuple[Tensor, Tensor | None], saved)
        assert x is not None
        dy = dy.to(self.b.dtype)
        x = x.to(self.a.dtype)
        ds = torch.mm(dy, self.b)  # [t, r], not yet scaled
        self.grad_b.addmm_(dy.t(), s, alpha=self.scale)
        if mask is None:
            self.grad_a.addmm_(ds.t(), x, alpha=self.scale)
            if dx is not None:
                if dx.dtype == self.a.dtype:
                    dx.addmm_(ds, self.a, alpha=self.scale)
                else:
                    dx += torch.mm(ds, self.a) * self.scale
            return
        scale = self.scale / (1.0 - self.dropout)
        self.grad_a.addmm_(ds.t(), x * mask, alpha=scale)
        if dx is not None:
            dx += (torch.mm(ds, self.a) * mask) * scale
