"""AdamW over one job's whole parameter vector (arXiv 1711.05101, algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AdamWSettings:
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


def clip_gradient(gradient: Tensor, max_norm: float) -> float:
    """Scale the gradient to `max_norm` at most (0: leave it). Returns the norm it had.

    The formula, its 1e-6 included, is `torch.nn.utils.clip_grad_norm_`'s.
    """
    norm = float(torch.linalg.vector_norm(gradient))
    if max_norm > 0.0:
        gradient.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm


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
    parameter.mul_(1.0 - learning_rate * settings.weight_decay)
    mean.lerp_(gradient, 1.0 - settings.beta1)
    square.mul_(settings.beta2).addcmul_(gradient, gradient, value=1.0 - settings.beta2)
    correction1 = 1.0 - settings.beta1**step
    correction2 = 1.0 - settings.beta2**step
    denominator = square.sqrt().div_(correction2**0.5).add_(settings.epsilon)
    parameter.addcdiv_(mean, denominator, value=-learning_rate / correction1)
