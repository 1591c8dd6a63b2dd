"""Rungs: the steps of a sweep's trial at which successive halving judges it."""

from __future__ import annotations

import math
import sys

from pando_shared.jobs import HalvingRule

#: The loss of a rung at which validation gave no finite number: worse than any, and JSON has it.
WORST_LOSS = sys.float_info.max


def rung_steps(total_steps: int, rule: HalvingRule) -> tuple[int, ...]:
    """The steps after which a trial of `total_steps` is judged, ascending.

    The last rung is at 1/eta of training, the one before it at 1/eta² and so on, rounded up to
    whole steps: ceil(total / eta^k) for k = rungs..1. So a loser costs the least where most lose.
    Where training is too short to tell two rungs apart there are fewer.
    """
    steps = {_share(total_steps, rule.eta**k) for k in range(rule.rungs, 0, -1)}
    return tuple(sorted(step for step in steps if 1 <= step < total_steps))


def rung_loss(loss: float | None) -> float:
    """A validation loss as a rung keeps it: always a finite number."""
    return WORST_LOSS if loss is None or not math.isfinite(loss) else loss


def shown_loss(loss: float) -> float | None:
    """A rung's loss as people see it: None where validation gave no finite number."""
    return None if not math.isfinite(loss) or loss >= WORST_LOSS else loss


def _share(total: int, parts: int) -> int:
    """ceil(total / parts) in whole numbers, exact however large."""
    return -(-total // parts)
