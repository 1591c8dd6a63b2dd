"""The sequences of a packed microbatch, which attention keeps apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
