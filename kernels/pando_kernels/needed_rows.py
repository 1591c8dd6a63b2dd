"""Sparing the last feed-forward network the rows that nobody reads.

A prompt's tokens feed the answer's through attention. Behind the last attention they feed nothing,
so there the network, two thirds of a block's work, is wanted for the predicting rows alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pando_kernels.plan import current_plan, planned


def skip_unneeded_rows(feed_forward: nn.Module) -> None:
    """Make a feed-forward network leave the rows outside `Plan.needed` at zero.

    Right only where no later layer mixes rows: in the last block of a decoder.
    """
    whole = feed_forward.forward

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """x [1, T, d] -> [1, T, d]."""
        plan = current_plan()
        if plan is None or plan.needed is None:
            return whole(x, *args, **kwargs)
        rows = plan.needed.rows
        with planned(plan.needed.plan):
            y = whole(x.index_select(1, rows), *args, **kwargs)
        return torch.zeros_like(x).index_copy(1, rows, y)

    feed_forward.forward = forward
