"""Arguments that many kernels share, and what is asked of them lest a kernel go astray."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import TILE_ROWS, SegmentLayout
from pando_kernels.triton.philox import signed


def of_tiles(layout: SegmentLayout) -> dict[str, Any]:
    tables = layout.tables
    return {
        "tiles": tables.tiles,
        "seg_start": tables.seg_start,
        "seg_slot": tables.seg_slot,
        "ROWS": TILE_ROWS,
    }


def of_slots(group: GroupAdapters) -> dict[str, Any]:
    addresses, numbers = group.table
    return {"table": addresses, "numbers": numbers, "G": len(group.widths), "R": group.rank}


def of_dropout(group: GroupAdapters, layout: SegmentLayout) -> dict[str, Any]:
    """Without keys there is no dropout: evaluation."""
    keys = layout.keys if group.has_dropout else None
    unread = layout.tables.seg_start
    return {
        "sequence": unread if keys is None else keys.sequence,
        "position": unread if keys is None else keys.position,
        "site": signed(group.site),
        "DROPOUT": keys is not None,
    }


def readable(x: Tensor) -> Tensor:
    """x [T, n], copied if its rows are not contiguous."""
    return x if x.stride(1) == 1 else x.contiguous()


def writable(y: Tensor) -> Tensor:
    """y [T, n] itself; ValueError if its rows are not contiguous."""
    if y.stride(1) != 1:
        raise ValueError(f"a tensor that is added to needs contiguous rows; strides {y.stride()}")
    return y


def has_kind(group: GroupAdapters, kind: type) -> bool:
    return any(isinstance(slot.first, kind) for slot in group.slots if slot is not None)


def check_types(group: GroupAdapters, dtype: torch.dtype) -> None:
    """Adapters must be of the type of activations: else TypeError. Gradients may be of any."""
    found = {value for value, _ in group.types}
    if not found <= {dtype}:
        raise TypeError(f"kernels for {dtype} need adapters of that type; got {_told(found)}")


def check_gradients(group: GroupAdapters) -> None:
    """What is accumulated into must be fp32: else TypeError."""
    found = {gradient for _, gradient in group.types}
    if not found <= {torch.float32}:
        raise TypeError(f"kernels need adapters' gradients in float32; got {_told(found)}")


def _told(types: set[torch.dtype]) -> str:
    return ", ".join(sorted(map(str, types)))
