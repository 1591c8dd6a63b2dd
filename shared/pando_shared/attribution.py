"""Whose the bytes were that a round took beyond its prediction, or left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pando_shared.calibration import LEAST_RATIO, MOST_RATIO

#: Standard deviations, as shares of what is predicted: of a job that was never measured, of one
#: that was, and of a step, whose error is mostly one that all rounds have and that is learnt.
_UNMEASURED, _MEASURED, _STEP = 0.3, 0.1, 0.03


@dataclass(frozen=True, slots=True)
class OwnBytes:
    """What one job holds of a device: by the byte model alone, and by all that was measured.

    `measured`: whether it has a ratio of its own already.
    """

    modelled: int
    expected: float
    measured: bool


def memory_ratios(jobs: Sequence[OwnBytes], step_bytes: float, beyond_bytes: float) -> list[float]:
    """Each job's `memory_ratio` after a round that took `beyond_bytes` more than expected.

    Everything uncertain gets of the difference in proportion to its variance: jobs that were never
    measured the most, a large step its part. So in one round the ratio of a lone large job is
    right, and that of a small one beside a large step stays where it was; over rounds it is an
    average.
    """
    variances = [(job.expected * (_MEASURED if job.measured else _UNMEASURED)) ** 2 for job in jobs]
    whole = sum(variances) + (step_bytes * _STEP) ** 2
    return [
        min(
            max((job.expected + beyond_bytes * own / whole) / job.modelled, LEAST_RATIO), MOST_RATIO
        )
        if job.modelled and whole
        else 1.0
        for job, own in zip(jobs, variances, strict=True)
    ]
