"""Numbers for numerical tests, and derivatives that know no calculus."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pando_kernels.lora import LoraLinear
from pando_kernels.meft.layer import MeftLayer
from pando_kernels.meft.memory import HostMemory
from pando_kernels.meft.rows import LayerRows
from pando_kernels.paca import PacaLinear


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers; the same for the same seed and shape, whatever the type."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)


def numerical_gradient(function: Callable[[], float], at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of `function` as each number of `at` is moved, in place, and put back."""
    gradient = torch.zeros_like(at)
    flat, slopes = at.view(-1), gradient.view(-1)
    for i in range(flat.numel()):
        kept = float(flat[i])
        flat[i] = kept + step
        above = function()
        flat[i] = kept - step
        below = function()
        flat[i] = kept
        slopes[i] = (above - below) / (2 * step)
    return gradient


def gradient_like(parameter: Tensor) -> Tensor:
    """Zeros for a parameter's gradient: of its type, but at least fp32."""
    return torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))


def make_lora(
    seed: int,
    features: tuple[int, int],
    rank: int,
    scale: float = 0.7,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> LoraLinear:
    """A LoRA with random A and B; features are (in, out)."""
    a = normal(seed, rank, features[0], dtype=dtype)
    b = normal(seed + 1, features[1], rank, dtype=dtype)
    return LoraLinear(a, b, gradient_like(a), gradient_like(b), scale, dropout)


def make_paca(
    seed: int,
    features: tuple[int, int],
    rank: int,
    scale: float = 0.7,
    dtype: torch.dtype = torch.float64,
) -> PacaLinear:
    """A PaCA with random columns and a random P; features are (in, out)."""
    rng = torch.Generator().manual_seed(seed)
    columns = torch.randperm(features[0], generator=rng)[:rank].sort().values
    p = normal(seed + 1, features[1], rank, dtype=dtype)
    return PacaLinear(columns, p, gradient_like(p), scale)


def make_meft(seed: int, d: int, experts: int, width: int, probes: int, top_k: int) -> MeftLayer:
    """A MEFT layer in fp64 with random parameters, values included."""
    keys, values = normal(seed, experts, width, d), normal(seed + 1, experts, width, d)
    router = normal(seed + 2, experts, d)
    return meft_of(keys, values, router, probes, top_k)


def meft_of(
    keys: Tensor, values: Tensor, router: Tensor, probes: int, top_k: int, balance: float = 0.0
) -> MeftLayer:
    """A MEFT layer of these parameters, its rows where they are."""
    touched = torch.zeros(keys.shape[:2], dtype=torch.bool)
    rows = LayerRows(keys, values, torch.zeros_like(keys), torch.zeros_like(values), touched)
    return MeftLayer(HostMemory(rows), router, torch.zeros_like(router), probes, top_k, balance)
