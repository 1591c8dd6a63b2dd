"""AdamW over jobs' whole parameter vectors (arXiv 1711.05101, algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.backend import runs_triton


@dataclass(frozen=True, slots=True)
class AdamWSettings:
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class AdamWSlot:
    """One job's part in a step of many; vectors are [n], fp32 but for the shadow.

    `shadow` is a copy of the value in the type that the base computes in, kept up with it. `step`
    counts from 1. A gradient whose norm is above `max_grad_norm` is scaled down to it (0: never);
    `norm_elsewhere` is that of the job's gradients which lie elsewhere, and counts among it.
    """

    value: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    shadow: Tensor | None
    step: int
    learning_rate: float
    settings: AdamWSettings
    max_grad_norm: float
    norm_elsewhere: float = 0.0


@torch.no_grad()
def adamw_many(slots: Sequence[AdamWSlot]) -> tuple[Tensor, Tensor]:
    """One step of every slot: clip, update, refresh the shadow, zero the gradient.

    Returns the gradients' norms before clipping, fp32 [J], and whether each is finite, bool [J]. A
    slot whose norm is not is left as it was, its gradient too. On a GPU nothing waits for a result.
    """
    if slots and runs_triton(slots[0].value):
        from pando_kernels.triton import adamw as compiled

        return compiled.adamw_many(slots)
    norms = torch.tensor([_step(slot) for slot in slots], dtype=torch.float32)
    return norms, norms.isfinite()


def _step(slot: AdamWSlot) -> float:
    norm = math.hypot(float(torch.linalg.vector_norm(slot.gradient)), slot.norm_elsewhere)
    if not math.isfinite(norm):
        return norm
    scale = clip_scale(norm, slot.max_grad_norm)
    if scale < 1.0:
        slot.gradient.mul_(scale)
    adamw_step(
        slot.value,
        slot.gradient,
        slot.mean,
        slot.square,
        slot.step,
        slot.learning_rate,
        slot.settings,
    )
    if slot.shadow is not None:
        slot.shadow.copy_(slot.value)
    slot.gradient.zero_()
    return norm


def clip_scale(norm: float, max_norm: float) -> float:
    """What to multiply a gradient by so that its norm is `max_norm` at most (0: any).

    The formula, its 1e-6 included, is `torch.nn.utils.clip_grad_norm_`'s.
    """
    return min(1.0, max_norm / (norm + 1e-6)) if max_norm > 0.0 else 1.0


@torch.no_grad()
def adamw_step(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    learning_rate: float,
    settings: AdamWSettings,
) -> None:
    """One update in place of vectors [n]; `step` counts from 1."""
    steps = [torch.tensor(float(step), device=parameter.device)]
    adamw_tensors([parameter], [gradient], [mean], [square], steps, learning_rate, settings)


@torch.no_grad()
def adamw_tensors(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    learning_rate: float,
    settings: AdamWSettings,
) -> None:
    """One update in place of tensors that have their own steps, fp32 [] each, from 1 on.

    It is what `torch.optim.AdamW(fused=True)` calls, in one pass where plain torch takes seven.
    """
    torch._fused_adamw_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=learning_rate,
        beta1=settings.beta1,
        beta2=settings.beta2,
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
        amsgrad=False,
        maximize=False,
    )
