"""Finishing one job's optimizer step: finite check, clip, learning rate, AdamW."""

from __future__ import annotations

import math

from pando_kernels.adamw import AdamWSettings, adamw_step, clip_gradient
from pando_shared.errors import TrainingFailed
from pando_worker.engine.job import ResidentJob


def finish_step(resident: ResidentJob) -> tuple[float, float]:
    """Apply the accumulated gradient and clear it. Returns (learning rate, gradient norm).

    Raises:
        TrainingFailed: the gradient is not finite; the weights are left as they were.
    """
    plan, vector = resident.job.plan, resident.adapter.vector
    norm = clip_gradient(vector.gradient, plan.config.max_grad_norm)
    if not math.isfinite(norm):
        raise TrainingFailed(
            f"the gradient of step {resident.step + 1} is not finite; "
            "a lower learning rate or max_grad_norm usually helps",
            code="non_finite_gradient",
        )
    rate = plan.learning_rate_at(resident.step)
    adamw_step(
        vector.value,
        vector.gradient,
        vector.mean,
        vector.square,
        resident.step + 1,
        rate,
        AdamWSettings(
            plan.config.adam_beta1,
            plan.config.adam_beta2,
            plan.config.adam_epsilon,
            plan.config.weight_decay,
        ),
    )
    vector.refresh()
    vector.gradient.zero_()
    resident.step += 1
    return rate, norm
