"""An exported adapter's rows, for forward passes alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.visits import Visits


@dataclass(frozen=True, slots=True)
class LoadedMemory:
    """One layer's rows as they were mapped from a file, of which a pass brings the visited experts
    to the device that computes. See `Memory`.

    all_keys, all_values [E, c, d] on the CPU; layers multiply in `dtype`.
    """

    all_keys: Tensor
    all_values: Tensor
    device: torch.device
    dtype: torch.dtype

    @property
    def width(self) -> int:
        return self.all_keys.shape[1]

    def keys(self, visits: Visits) -> Iterator[Blocks]:
        yield self._visited(self.all_keys, visits)

    def values(self, visits: Visits, used: Tensor) -> Iterator[Blocks]:
        yield self._visited(self.all_values, visits)

    def _visited(self, source: Tensor, visits: Visits) -> Blocks:
        probed = visits.probed.nonzero()[:, 0]
        where = visits.starts.new_full((len(source),), -1, dtype=torch.int32)
        where[probed] = torch.arange(len(probed), dtype=torch.int32, device=where.device)
        return Blocks(source.index_select(0, probed.cpu()).to(self.device, self.dtype), where)

    def gradients(self, visits: Visits, used: Tensor) -> Iterator[tuple[Blocks, Blocks]]:
        raise TypeError("rows that were loaded for forward passes have no gradients")

    def look_ahead(self, x: Tensor) -> None:
        pass

    def look_back(self) -> None:
        pass
