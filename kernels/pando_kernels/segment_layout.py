"""Which rows of a packed microbatch are whose: one copy to the device serves every layer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pando_kernels.dropout import RowKeys
from pando_kernels.transfer import to_device

#: Rows of a tile: a tile has rows of one segment only, counted from the segment's own first row.
TILE_ROWS = 64
#: Rows of a chunk, over which a program of a reduction sums; also of one segment only.
CHUNK_ROWS = 512
#: Rows of a tile of the base product, which is cut from row 0 on and may serve several segments.
GEMM_ROWS = 128


@dataclass(frozen=True)
class SegmentLayout:
    """T packed rows as S segments; segment i is rows [starts[i], starts[i + 1]) of one job.

    `slots[i]` says which of the microbatch's adapters serves it, -1 for none. Segments may be
    empty. Without `keys` there is no dropout: evaluation. Because tiles and chunks begin with their
    segment, a job's sums are made in the same order whoever its neighbours are.
    """

    starts: tuple[int, ...]
    slots: tuple[int, ...]
    device: torch.device
    keys: RowKeys | None = None

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.slots) + 1 or self.starts[0] != 0:
            raise ValueError(f"{len(self.slots)} slots need starts from 0 on; got {self.starts}")

    @property
    def tokens(self) -> int:
        return self.starts[-1]

    def parts(self) -> list[tuple[slice, int]]:
        """(rows, slot) of every segment that has rows and an adapter."""
        return [
            (slice(start, stop), slot)
            for start, stop, slot in zip(self.starts, self.starts[1:], self.slots, strict=False)
            if slot >= 0 and stop > start
        ]

    @cached_property
    def tables(self) -> DeviceTables:
        """The layout as kernels read it."""
        return _tables(self)


@dataclass(frozen=True, slots=True)
class DeviceTables:
    """int32 tensors on the device, made with one copy.

    seg_start [S + 1], seg_slot [S]; tiles [n, 2] and chunks [m, 2] are (segment, first row), and
    between them cover every row once; seg_chunk [S + 1] is each segment's first chunk; gemm_first
    [⌈T / GEMM_ROWS⌉ + 1] is the segment that each tile of the base product begins in, and the last
    entry the segment of the last row.
    """

    seg_start: Tensor
    seg_slot: Tensor
    tiles: Tensor
    chunks: Tensor
    seg_chunk: Tensor
    gemm_first: Tensor


def _pieces(starts: Sequence[int], size: int) -> NDArray[np.int32]:
    """[n, 2]: (segment, first row) of every segment's pieces of at most `size` rows."""
    rows = [
        (segment, row)
        for segment, (start, stop) in enumerate(itertools.pairwise(starts))
        for row in range(start, stop, size)
    ]
    return np.array(rows, np.int32).reshape(-1, 2)


def _tables(layout: SegmentLayout) -> DeviceTables:
    starts = np.array(layout.starts, np.int32)
    chunks = _pieces(layout.starts, CHUNK_ROWS)
    edges = np.append(np.arange(0, layout.tokens, GEMM_ROWS), max(layout.tokens - 1, 0))
    parts = [
        starts,
        np.array(layout.slots, np.int32),
        _pieces(layout.starts, TILE_ROWS),
        chunks,
        np.searchsorted(chunks[:, 0], np.arange(len(layout.slots) + 1)).astype(np.int32),
        (np.searchsorted(starts, edges, side="right") - 1).astype(np.int32),
    ]
    # Every table starts at a multiple of 16 bytes: Triton compiles anew for one that does not.
    whole = torch.from_numpy(np.concatenate([_padded(part.ravel()) for part in parts]))
    pieces = to_device(whole, layout.device).split([_padded_size(part.size) for part in parts])
    return DeviceTables(
        *(piece[: part.size].view(part.shape) for piece, part in zip(pieces, parts, strict=True))
    )


def _padded_size(size: int) -> int:
    return -(-size // 4) * 4


def _padded(part: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.pad(part, (0, _padded_size(part.size) - part.size))
