"""Rotary position embedding (Su et al., arXiv 2104.09864), in place."""

from __future__ import annotations

from torch import Tensor

from pando_kernels.backend import runs_triton


def rope_(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool = False) -> None:
    """Rotate x [T, H, D], a view of any strides, in place; `inverse` turns it back.

    cos and sin [T, D / 2]: the first half of what transformers' rotary modules return, whose halves
    are equal. Entry i is rotated with entry i + D / 2. The inverse is the gradient of the rotation,
    also where the module scales cos and sin.
    """
    if runs_triton(x):
        from pando_kernels.triton import rope as compiled

        compiled.rope_(x, cos, sin, inverse)
        return
    first, second = x.chunk(2, dim=2)
    cos, sin = cos[:, None], sin[:, None]
    sign = -1.0 if inverse else 1.0
    moved = first * sin
    first.mul_(cos).addcmul_(second, sin, value=-sign)
    second.mul_(cos).add_(moved, alpha=sign)
