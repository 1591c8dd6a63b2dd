"""The samples of a run, put on an even grid of time so that they can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pando_scheduler.simulation.run import Sample


@dataclass(frozen=True, slots=True)
class Timeline:
    """Means over equal spans, each at its middle in seconds. A span without workers uses 0."""

    at: list[float]
    useful: list[float]
    queued: list[float]


def timeline(samples: Sequence[Sample], until: float, spans: int) -> Timeline:
    """A sample holds until the next one, the last `until` then; before the first was nothing."""
    width = until / spans
    if not samples or width <= 0:
        return Timeline([], [], [])
    useful, queued = [0.0] * spans, [0.0] * spans
    ends = [*(sample.at for sample in samples[1:]), until]
    for sample, end in zip(samples, ends, strict=True):
        at, last = max(0.0, sample.at), min(end, until)
        while at < last:
            span = min(spans - 1, int(at / width))
            # The very last span takes all that is left, whatever rounding did.
            upto = last if span == spans - 1 else min(last, (span + 1) * width)
            if upto <= at:
                span, upto = span + 1, min(last, (span + 2) * width)
            share = (upto - at) / width
            useful[span] += share * sample.useful
            queued[span] += share * sample.queued
            at = upto
    return Timeline([(span + 0.5) * width for span in range(spans)], useful, queued)
