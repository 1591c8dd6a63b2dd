"""Tiles of a group's output columns: each within one member's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class OutputTiles:
    """int32 on the device: tiles [n, 4] are (member, first column of Y, first row of B, rows of B).

    first [G + 1] is each member's first tile. `aligned` says that columns are multiples of 16.
    """

    tiles: Tensor
    first: Tensor
    aligned: bool

    @property
    def count(self) -> int:
        return self.tiles.shape[0]


@lru_cache(maxsize=256)
def output_tiles(widths: tuple[int, ...], block: int, device: torch.device) -> OutputTiles:
    """Tiles of `block` columns; kept, for a model has few different groups."""
    starts = [0, *accumulate(widths)]
    tiles = [
        (g, starts[g] + row, row, width)
        for g, width in enumerate(widths)
        for row in range(0, width, block)
    ]
    first = [0, *accumulate(-(-width // block) for width in widths)]
    return OutputTiles(
        torch.tensor(tiles, dtype=torch.int32, device=device).view(-1, 4),
        torch.tensor(first, dtype=torch.int32, device=device),
        all(width % 16 == 0 for width in widths),
    )
