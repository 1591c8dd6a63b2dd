"""The sequences of a packed microbatch, which attention keeps apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from pando_kernels.transfer import to_device


@dataclass(frozen=True)
class Sequences:
    """Lengths of the sequences that lie one behind the other."""

    lengths: tuple[int, ...]
    device: torch.device

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        return max(self.lengths, default=0)

    @cached_property
    def starts(self) -> Tensor:
        """int32 [n + 1] on the device: 0, then where each sequence stops; made once."""
        starts = torch.from_numpy(np.cumsum([0, *self.lengths], dtype=np.int32))
        return to_device(starts, self.device)

    @cached_property
    def of_row(self) -> Tensor:
        """int64 [T] on the device: the sequence that each row is in; made once."""
        ids = torch.from_numpy(np.repeat(np.arange(len(self.lengths)), self.lengths))
        return to_device(ids, self.device)

    def between(self, start: int, stop: int) -> tuple[int, int]:
        """The first of the sequences that make up the rows from start to stop, and their number.

        Raises ValueError if the rows cut through a sequence.
        """
        ends = [0, *accumulate(self.lengths)]
        first = ends.index(start)
        return first, ends.index(stop, first) - first
