"""The methods of the knowledge study: what each trains, and what of it a GPU must hold."""

from __future__ import annotations

from dataclasses import dataclass

from knowledge_dense import DenseConfig

from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.base_shape import BaseShape
from pando_shared.memory import trained_parameters

#: fp32 value, gradient and two AdamW moments, and a copy in bf16 that products read.
_RESIDENT_BYTES = 16 + 2
_COPY_BYTES = 2


FAMILIES = ("LoRA", "PaCA", "dense", "MEFT")


@dataclass(frozen=True, slots=True)
class Method:
    """One adapter, and the learning rates that the sweep tries."""

    family: str
    label: str
    adapter: LoraConfig | PacaConfig | MeftConfig | DenseConfig
    rates: tuple[float, ...]


def _lora(rank: int, *rates: float) -> Method:
    return Method("LoRA", f"LoRA, r = {rank}", LoraConfig(rank=rank, alpha=2.0 * rank), rates)


def _paca(rank: int, *rates: float) -> Method:
    return Method("PaCA", f"PaCA, r = {rank}", PacaConfig(rank=rank), rates)


def _dense(keys: int, *rates: float) -> Method:
    return Method("dense", f"dense parallel, M = {keys:,}", DenseConfig(keys), rates)


def _meft(keys: int, top_k: int, *rates: float) -> Method:
    adapter = MeftConfig(num_keys=keys, top_k=top_k)
    return Method("MEFT", f"MEFT, M = {keys:,}, k = {top_k}", adapter, rates)


#: Step times are told as multiples of this one's.
YARDSTICK = _lora(8, 5e-3, 8e-3, 1.2e-2)

METHODS = (
    _lora(1, 5e-3, 1e-2, 2e-2),
    YARDSTICK,
    _lora(32, 2e-3, 4e-3, 8e-3),
    _lora(128, 1e-3, 2e-3, 4e-3),
    _paca(2, 4e-2, 8e-2, 1.6e-1),
    _paca(16, 1e-2, 2e-2, 4e-2),
    _paca(64, 2.5e-3, 5e-3, 1e-2),
    _dense(128, 3.2e-2, 6.4e-2, 1.28e-1, 2.56e-1),
    _dense(512, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
    _dense(2048, 4e-3, 8e-3, 1.6e-2),
    _meft(512, 64, 2e-3, 4e-3, 8e-3, 1.6e-2),
    _meft(2048, 16, 2e-3, 4e-3, 8e-3),
    _meft(2048, 64, 1e-3, 2e-3, 4e-3),
)


def parameters(base: BaseShape, adapter: LoraConfig | PacaConfig | MeftConfig | DenseConfig) -> int:
    """How many numbers are trained."""
    if isinstance(adapter, DenseConfig):
        return base.layers * 2 * adapter.num_keys * base.hidden_size
    return trained_parameters(base, adapter)


def gpu_bytes(
    base: BaseShape,
    adapter: LoraConfig | PacaConfig | MeftConfig | DenseConfig,
    cache_bytes: int,
) -> int:
    """What an adapter holds on a GPU while it trains beside a bf16 base.

    MEFT's rows train in the host's memory: its router and at most `cache_bytes` of its rows, in
    bf16, lie on the GPU.
    """
    trained = parameters(base, adapter)
    if not isinstance(adapter, MeftConfig):
        return trained * _RESIDENT_BYTES
    rows = base.layers * 2 * adapter.num_keys * base.hidden_size
    return (trained - rows) * _RESIDENT_BYTES + min(rows * _COPY_BYTES, cache_bytes)
