"""How a speed model is learnt from rounds: an extended Kalman filter over its logarithms.

A round shows one number, the tokens a second of all jobs; which parameters it speaks of follows
from the model's own slopes. A saturated round says nothing of the floor, one with a single job
nothing of interference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from pando_shared.reports import JobService, RoundReport
from pando_shared.speed import PRIOR_DEVIATIONS, SpeedModel

_SHORTEST_SECONDS = 1.0
#: Deviation of a round's logarithm from the model, beside what unfinished steps make of it.
_NOISE = 0.1
#: What a round adds to the doubt, as a share of that before the first: with the noise above, about
#: the last ten rounds count. However long nothing is seen, doubt grows no larger than it was.
_FORGOTTEN = 1e-4
#: A round further off, in standard deviations, counts as if it were just so far off.
_MOST_DEVIATIONS = 3.0
_SLOPE = 1e-4


def predicted_tokens_per_second(model: SpeedModel, jobs: Sequence[JobService]) -> float:
    """Of all jobs of a round together. Jobs whose step is not known are left out, but count."""
    known = [job for job in jobs if job.step_tokens > 0]
    demand = sum(model.demand(job.step_tokens, job.adapter.type) for job in known)
    alone = sum(model.alone_tokens_per_second(job.step_tokens, job.adapter.type) for job in known)
    return alone / model.slowdown(demand, len(jobs))


def observe_speed(model: SpeedModel, report: RoundReport) -> SpeedModel:
    """What is known after a round. One of under a second, or without a finished step, says nothing;
    one that is far off changes little."""
    steps = sum(job.steps for job in report.jobs)
    if report.seconds < _SHORTEST_SECONDS or steps == 0 or report.tokens <= 0:
        return model
    expected = predicted_tokens_per_second(model, report.jobs)
    if expected <= 0:
        return model
    observed = report.tokens / report.seconds
    surprise = math.log(observed / expected)
    # A step in work when the round ended is not counted.
    unfinished = sum(job.step_tokens**2 for job in report.jobs) / report.tokens**2
    noise = _NOISE**2 + min(1.0, unfinished)

    size = len(PRIOR_DEVIATIONS)
    state = _logarithms(model)
    slopes = [_slope(model, state, i, report.jobs) for i in range(size)]
    before = [
        (1 - _FORGOTTEN) * value + (_FORGOTTEN * PRIOR_DEVIATIONS[i] ** 2 if i == j else 0.0)
        for (i, j), value in zip(product(range(size), repeat=2), model.covariance, strict=True)
    ]
    carried = [sum(before[i * size + j] * slopes[j] for j in range(size)) for i in range(size)]
    variance = sum(slopes[i] * carried[i] for i in range(size)) + noise
    limit = _MOST_DEVIATIONS * math.sqrt(variance)
    step = min(max(surprise, -limit), limit) / variance
    moved = [value + gain * step for value, gain in zip(state, carried, strict=True)]
    after = tuple(
        before[i * size + j] - carried[i] * carried[j] / variance
        for i in range(size)
        for j in range(size)
    )
    errors = model.errors.add(observed / expected - 1.0)
    return replace(_with_logarithms(model, moved), covariance=after, errors=errors)


def _logarithms(model: SpeedModel) -> list[float]:
    return [
        math.log(value)
        for value in (
            model.tokens_per_second,
            model.floor_seconds,
            model.alone_share,
            model.interference,
            model.paca_cost,
            model.meft_cost,
        )
    ]


def _with_logarithms(model: SpeedModel, state: Sequence[float]) -> SpeedModel:
    rate, floor, share, interference, paca, meft = (math.exp(value) for value in state)
    return replace(
        model,
        tokens_per_second=rate,
        floor_seconds=floor,
        alone_share=min(share, 1.0),
        interference=min(interference, 1.0),
        paca_cost=paca,
        meft_cost=meft,
    )


def _slope(
    model: SpeedModel, state: Sequence[float], index: int, jobs: Sequence[JobService]
) -> float:
    """Of the prediction's logarithm, along one parameter's."""
    ends = []
    for nudge in (-_SLOPE, _SLOPE):
        nudged = [value + nudge * (i == index) for i, value in enumerate(state)]
        ends.append(predicted_tokens_per_second(_with_logarithms(model, nudged), jobs))
    return (math.log(ends[1]) - math.log(ends[0])) / (2 * _SLOPE)
