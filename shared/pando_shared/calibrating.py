"""How a calibration is learnt: from the reports of rounds, and before the first from a probe."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import stdev

from pando_shared.adapters import LoraConfig
from pando_shared.calibration import (
    FEWEST_OBSERVATIONS,
    LEAST_RATIO,
    MOST_RATIO,
    Calibration,
)
from pando_shared.catalogue import BaseModel
from pando_shared.footprint import Footprint
from pando_shared.memory import footprint
from pando_shared.recompute import Recompute
from pando_shared.reports import RoundReport
from pando_shared.ridge import Ridge
from pando_shared.room import room_on
from pando_shared.workers import Worker

#: The adapter that a probe trains, and what it makes again.
PROBE_ADAPTER = LoraConfig(rank=8)
PROBE_RECOMPUTE = Recompute.NOTHING
#: After a hundred rounds one counts a third.
_MEMORY = 0.99
#: How surely the factors are 1: as one round would say of a term that is a seventh of the peak.
_RIDGE = 0.02
_LEAST_FACTOR = 0.25
#: A probe measures with nothing else going on.
_PROBE_WEIGHT = 4.0
#: A round in which memory ran out would have needed this much more than predicted, at least.
_OUT_OF_MEMORY_SCALE = 1.25
_REMEMBERED_DEVIATIONS, _REMEMBERED_JOBS = 256, 128
#: What adapters take, at least, for a round to tell how they differ: as a share of its step.
_LEAST_SHARE = 1 / 3
_METHODS = ("lora", "paca", "meft")


def observe(
    learnt: Calibration, report: RoundReport, worker: Worker, base: BaseModel
) -> Calibration:
    """What is known after a round that `worker` ran on `base`.

    Observations are fitted in shares of the whole prediction, so that large and small rounds count
    alike. Where memory ran out, the peak is what would have been needed: more than there is.
    """
    if not report.jobs or report.measured_bytes <= 0 or report.predicted_bytes <= 0:
        return learnt
    measured = float(report.measured_bytes)
    if report.out_of_memory:
        least = _OUT_OF_MEMORY_SCALE * report.predicted_bytes
        measured = max(measured, worker.budget_bytes, least)
    held = worker.base_format
    each = [
        footprint(base, job.adapter, held, worker.device, worker.rows_on_disk, report.longest)
        for job in report.jobs
    ]
    own = {
        method: sum(
            taken.device_bytes
            for taken, job in zip(each, report.jobs, strict=True)
            if job.adapter.type == method
        )
        for method in _METHODS
    }
    together = sum(each, Footprint())
    model = room_on(worker, base).step
    step = model.bytes(together, report.microbatch_tokens, report.recompute)
    beside = measured - report.resident_bytes
    x = (*(float(own[method]) for method in _METHODS), float(step))
    fit = _seen(learnt.fit.forget(_MEMORY), x, beside, report.resident_bytes, 1.0)
    updated = replace(
        _fitted(learnt, fit),
        errors=learnt.errors.add(measured / report.predicted_bytes - 1.0),
    )
    parts = [
        taken.device_bytes * updated.factor(job.adapter)
        for taken, job in zip(each, report.jobs, strict=True)
    ]
    names = [job.job_id for job in report.jobs]
    return _spread(updated, names, parts, beside - updated.step * step, updated.step * step)


def observe_probe(learnt: Calibration, worker: Worker, base: BaseModel) -> Calibration:
    """What is known once a worker has loaded its base and probed it. Reports say more: a probe
    counts only where there is none yet, and once."""
    probe = worker.probe
    if probe is None or probe.base_model != base.name or learnt.probed or learnt.errors.rounds:
        return learnt
    taken = footprint(base, PROBE_ADAPTER, worker.base_format, worker.device)
    step = room_on(worker, base).step
    fit = learnt.fit
    for tokens, peak in zip(probe.tokens, probe.peak_bytes, strict=True):
        step_bytes = step.bytes(taken, tokens, PROBE_RECOMPUTE)
        x = (float(taken.device_bytes), 0.0, 0.0, float(step_bytes))
        beside = float(peak - worker.resident_bytes)
        fit = _seen(fit, x, beside, worker.resident_bytes, _PROBE_WEIGHT)
    return replace(_fitted(learnt, fit), probed=True)


def _seen(fit: Ridge, x: tuple[float, ...], y: float, resident: int, weight: float) -> Ridge:
    whole = max(1.0, resident + sum(x))
    return fit.add([part / whole for part in x], y / whole, weight)


def _fitted(learnt: Calibration, fit: Ridge) -> Calibration:
    lora, paca, meft, step = fit.solve(_RIDGE, _LEAST_FACTOR)
    return replace(learnt, lora=lora, paca=paca, meft=meft, step=step, fit=fit)


def _spread(
    learnt: Calibration, names: list[str], parts: list[float], measured: float, step: float
) -> Calibration:
    """Learn how much jobs differ from what is predicted of their kind.

    `parts` are their own predicted bytes, `measured` what all took together. A job counts once;
    beside a step that is much larger than they are nothing is told of them, for its own error would
    be taken for theirs. The deviation of a sum is smaller than one job's: by √n where all are
    alike.
    """
    predicted = sum(parts)
    if predicted < _LEAST_SHARE * step or set(names) <= set(learnt.counted):
        return learnt
    ratio = min(max(measured / predicted, LEAST_RATIO), MOST_RATIO)
    alike = predicted**2 / sum(part**2 for part in parts)
    deviation = round(math.log(ratio) * math.sqrt(alike), 6)
    deviations = (*learnt.deviations, deviation)[-_REMEMBERED_DEVIATIONS:]
    counted = (*(name for name in learnt.counted if name not in names), *names)
    return replace(
        learnt,
        deviations=deviations,
        counted=counted[-_REMEMBERED_JOBS:],
        sigma=stdev(deviations) if len(deviations) >= FEWEST_OBSERVATIONS else 0.0,
    )
