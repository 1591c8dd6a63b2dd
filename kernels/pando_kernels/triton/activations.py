"""The activations of gated networks.

Both are x · sigmoid(p(x)): silu with p = x, and gelu in its tanh form with
p = 2 √(2 / π) (x + 0.044715 x³), since 1 + tanh(z) = 2 sigmoid(2 z).
"""

import triton
import triton.language as tl


@triton.jit
def activated(x, GELU: tl.constexpr):
    """(activation of x, its derivative); x fp32."""
    if GELU:
        exponent = x * (1.5957691216057308 + 0.07135481282785598 * x * x)
        growth = 1.5957691216057308 + 0.21406443848356794 * x * x
    else:
        exponent = x
        growth = tl.full(x.shape, 1.0, tl.float32)
    share = tl.sigmoid(exponent)
    active = x * share
    return active, share + active * (1.0 - share) * growth
