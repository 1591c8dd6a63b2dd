"""What a checkpoint holds of a MEFT job's rows: those that changed since an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pando_kernels.meft.memory import JobMemory
from pando_kernels.meft.rows import HostRows, RowShape

#: What a checkpoint counts for at least, so that no chain of them is longer than this many times.
_LEAST_SHARE = 1 / 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that storage has, by its folder's name; the step it is of, and how many times
    all rows have been written since the last one that needs no other."""

    name: str
    step: int
    share: float


@dataclass(frozen=True, slots=True)
class RowState:
    """Rows to write, layer by layer. `since`: the name of the checkpoint that the others are in;
    None: all rows are here. `share`: see `Kept`, this one counted.

    `take(layer)` gives the layer's rows int32 [n], counts int32 [n], and value, mean and square
    fp32 [2, n, d] each; once.
    """

    shape: RowShape
    since: str | None
    share: float
    take: Callable[[int], Mapping[str, Tensor]]


def row_state(memory: JobMemory, kept: Kept | None, copied: bool) -> RowState:
    """The rows changed since `kept`, or all where that is not more to write in the long run.

    copied: they are copied now, and stay as they are while the job trains on.
    """
    memory.settle()
    rows = memory.rows
    changed = rows.changed_at > (-1 if kept is None else kept.step)
    share = max(float(changed.float().mean()), _LEAST_SHARE)
    since = None if kept is None or kept.share + share >= 1.0 else kept.name
    if since is None:
        changed = torch.ones_like(changed)
    total = 0.0 if kept is None or since is None else kept.share + share

    def gather(layer: int) -> dict[str, Tensor]:
        return _gather(rows, layer, changed[layer].nonzero()[:, 0])

    if not copied:
        return RowState(rows.shape, since, total, gather)
    copies = [gather(layer) for layer in range(rows.shape.layers)]
    return RowState(rows.shape, since, total, lambda layer: _taken(copies, layer))


def _taken(copies: list[dict[str, Tensor]], layer: int) -> dict[str, Tensor]:
    """Frees what is written."""
    copy, copies[layer] = copies[layer], {}
    return copy


def _gather(rows: HostRows, layer: int, chosen: Tensor) -> dict[str, Tensor]:
    tables = {"value": rows.value, "mean": rows.mean, "square": rows.square}
    return {
        "rows": chosen.int(),
        "counts": rows.counts[layer].index_select(0, chosen),
        **{name: table[layer].index_select(1, chosen) for name, table in tables.items()},
    }


def save_rows(state: RowState, folder: Path) -> list[str]:
    """Write a file for each layer, one after another; returns their names."""
    for layer in range(state.shape.layers):
        save_file(dict(state.take(layer)), folder / _file(layer))
    return [_file(layer) for layer in range(state.shape.layers)]


def _file(layer: int) -> str:
    return f"rows-{layer:05d}.safetensors"


def load_rows(memory: JobMemory, folder: Path) -> None:
    """Put rows where `save_rows` took them from; those it did not write stay as they are. The
    rows must be of the memory's shape."""
    memory.settle()
    rows = memory.rows
    for layer in range(rows.shape.layers):
        found = load_file(folder / _file(layer))
        chosen = found["rows"].long()
        rows.counts[layer].index_copy_(0, chosen, found["counts"])
        for table in ("value", "mean", "square"):
            getattr(rows, table)[layer].index_copy_(1, chosen, found[table])
    rows.changed_at.zero_()
