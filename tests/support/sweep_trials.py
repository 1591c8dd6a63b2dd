"""Trials of a sweep as a scheduler finds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from factories import make_job

from pando_shared.jobs import HalvingRule, Job, JobState, Progress

SWEEP = "sweep-1"
RULE = HalvingRule(3, 2)


def make_trial(
    name: str,
    *losses: float,
    state: JobState = JobState.RUNNING,
    rule: HalvingRule | None = RULE,
    total: int = 90,
    step: int = 0,
    valid_loss: float | None = None,
    **fields: Any,
) -> Job:
    """A trial of 90 steps with these losses at its rungs (of the usual rule: 10 and 30)."""
    job = make_job(name, state=state, **fields)
    spec = replace(job.spec, group=SWEEP, halving=rule, validation_file="file-2")
    last = valid_loss if valid_loss is not None else (losses[-1] if losses else None)
    progress = Progress(step=step, total_steps=total, valid_loss=last, rung_losses=losses)
    return replace(job, spec=spec, progress=progress)
