"""AdamW over many jobs' vectors: norms in two short launches, all updates in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
import triton.language as tl
from torch import Tensor

from pando_kernels.adamw import AdamWSlot
from pando_kernels.transfer import to_device
from pando_kernels.triton.adamw_kernels import (
    CHUNK,
    SIZE,
    norms_kernel,
    squares_kernel,
    update_kernel,
)
from pando_kernels.triton.configs import Config, power_of_two
from pando_kernels.triton.launch import launch

#: Numbers of a chunk, and chunks' sums of squares, that are taken at a time.
BLOCK, SUMS = 1024, 512
_CONFIG = Config(BLOCK, warps=4, stages=1)
_TYPES = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}


@dataclass(frozen=True, slots=True)
class _Table:
    """Where J slots' vectors are: addresses int64 [J, FIELDS], first_chunk int32 [JOBS > J]."""

    addresses: Tensor
    first_chunk: Tensor
    chunks: int


@lru_cache(maxsize=64)
def _table(rows: tuple[tuple[int, ...], ...], device: torch.device) -> _Table:
    """Made once for each set of jobs that step together."""
    first = [0, *accumulate(-(-row[SIZE.value] // CHUNK.value) for row in rows)]
    padding = [first[-1]] * (power_of_two(len(first)) - len(first))
    return _Table(
        to_device(torch.tensor(rows, dtype=torch.int64), device),
        to_device(torch.tensor(first + padding, dtype=torch.int32), device),
        first[-1],
    )


def _row(slot: AdamWSlot) -> tuple[int, ...]:
    """A slot's row of addresses; ValueError if a kernel could not read its vectors."""
    vectors = [slot.value, slot.gradient, slot.mean, slot.square]
    shadow = [] if slot.shadow is None else [slot.shadow]
    size = slot.value.numel()
    addresses = [vector.data_ptr() for vector in vectors + shadow]
    fits = all(v.numel() == size and v.is_contiguous() for v in vectors + shadow)
    if not fits or any(address % 16 for address in addresses):
        raise ValueError(
            "a slot's vectors must be contiguous, aligned to 16 bytes and equally long"
        )
    types = [vector.dtype for vector in vectors + shadow]
    if types[:4] != [torch.float32] * 4 or types[-1] not in _TYPES:
        raise ValueError(f"a slot's vectors must be float32, its shadow no wider; got {types}")
    return (*addresses, *([] if shadow else [0]), size)


def _numbers(slot: AdamWSlot) -> list[float]:
    settings = slot.settings
    return [
        slot.max_grad_norm,
        1.0 - slot.learning_rate * settings.weight_decay,
        1.0 - settings.beta1,
        settings.beta2,
        1.0 - settings.beta2,
        settings.epsilon,
        slot.learning_rate / (1.0 - settings.beta1**slot.step),
        (1.0 - settings.beta2**slot.step) ** 0.5,
        slot.norm_elsewhere,
    ]


def adamw_many(slots: Sequence[AdamWSlot]) -> tuple[Tensor, Tensor]:
    """See `pando_kernels.adamw.adamw_many`. Raises ValueError for vectors that do not fit."""
    device = slots[0].value.device
    rows = tuple(_row(slot) for slot in slots)
    shadow_types = {slot.shadow.dtype for slot in slots if slot.shadow is not None}
    if len(shadow_types) > 1:
        raise ValueError(f"shadows must be of one type; got {sorted(map(str, shadow_types))}")
    table = _table(rows, device)
    numbers = torch.tensor([_numbers(slot) for slot in slots], dtype=torch.float32)
    numbers = to_device(numbers, device)
    sums, norms, scales = (
        torch.empty(n, device=device) for n in (table.chunks, len(slots), len(slots))
    )
    finite = torch.empty(len(slots), dtype=torch.int8, device=device)
    jobs = table.first_chunk.numel()
    launch(
        squares_kernel,
        (table.chunks,),
        _CONFIG,
        addresses=table.addresses,
        first_chunk=table.first_chunk,
        sums=sums,
        JOBS=jobs,
        BLOCK=BLOCK,
    )
    launch(
        norms_kernel,
        (len(slots),),
        _CONFIG,
        numbers=numbers,
        first_chunk=table.first_chunk,
        sums=sums,
        norms=norms,
        finite=finite,
        scales=scales,
        SUMS=SUMS,
    )
    launch(
        update_kernel,
        (table.chunks,),
        _CONFIG,
        addresses=table.addresses,
        numbers=numbers,
        first_chunk=table.first_chunk,
        finite=finite,
        scales=scales,
        JOBS=jobs,
        BLOCK=BLOCK,
        SHADOW_TYPE=_TYPES[shadow_types.pop()] if shadow_types else tl.float32,
    )
    return norms, finite.view(torch.bool)
