"""Finishing optimizer steps: finite check, clip, learning rate, AdamW, for many jobs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pando_kernels.adamw import AdamWSettings, AdamWSlot, adamw_many, clip_scale
from pando_worker.engine.job import ResidentJob


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """The learning rate used, and the gradient's norm before it was clipped.

    finite False: the gradient was not, and the job's weights are as they were.
    """

    learning_rate: float
    gradient_norm: float
    finite: bool


def finish_steps(residents: Sequence[ResidentJob]) -> list[FinishedStep]:
    """Apply the jobs' accumulated gradients and clear them."""
    if not residents:
        return []
    slots = [_slot(resident) for resident in residents]
    norms, finite = adamw_many(slots)
    told = torch.stack([norms, finite.to(norms.dtype)]).tolist()  # one copy from the device
    finished = [
        FinishedStep(slot.learning_rate, norm, bool(good))
        for slot, norm, good in zip(slots, *told, strict=True)
    ]
    for resident, slot, step in zip(residents, slots, finished, strict=True):
        resident.step += step.finite
        memory = resident.adapter.memory
        if memory is not None and step.finite:
            scale = clip_scale(step.gradient_norm, slot.max_grad_norm)
            memory.step(resident.step, step.learning_rate, slot.settings, scale)
    return finished


def _slot(resident: ResidentJob) -> AdamWSlot:
    plan, vector = resident.job.plan, resident.adapter.vector
    memory = resident.adapter.memory
    return AdamWSlot(
        value=vector.value,
        gradient=vector.gradient,
        mean=vector.mean,
        square=vector.square,
        shadow=vector.shadow,
        step=resident.step + 1,
        learning_rate=plan.learning_rate_at(resident.step),
        settings=AdamWSettings(
            plan.config.adam_beta1,
            plan.config.adam_beta2,
            plan.config.adam_epsilon,
            plan.config.weight_decay,
        ),
        max_grad_norm=plan.config.max_grad_norm,
        norm_elsewhere=0.0 if memory is None else memory.collect(),
    )
