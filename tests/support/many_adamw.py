"""Slots for a step of many jobs, and what torch makes of one of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from numerics import normal
from torch import Tensor

from pando_kernels.adamw import AdamWSettings, AdamWSlot


def make_slot(
    seed: int,
    size: int,
    device: torch.device | str = "cpu",
    settings: AdamWSettings | None = None,
    shadow: torch.dtype | None = None,
    step: int = 3,
    max_grad_norm: float = 1.0,
) -> AdamWSlot:
    """A slot in the midst of its training, with random vectors [size]."""
    value, gradient, mean, square = (
        normal(10 * seed + i, size, dtype=torch.float32).to(device) for i in range(4)
    )
    return AdamWSlot(
        value=value,
        gradient=gradient,
        mean=mean,
        square=square.square_(),
        shadow=None if shadow is None else torch.full_like(value, 99.0, dtype=shadow),
        step=step,
        learning_rate=0.01 * seed,
        settings=settings or AdamWSettings(),
        max_grad_norm=max_grad_norm,
    )


def vectors(slot: AdamWSlot) -> list[Tensor]:
    """Everything that a step may write."""
    found = [slot.value, slot.gradient, slot.mean, slot.square]
    return found if slot.shadow is None else [*found, slot.shadow]


def clone(slot: AdamWSlot) -> AdamWSlot:
    names = ("value", "gradient", "mean", "square")
    copies = {name: getattr(slot, name).clone() for name in names}
    return replace(slot, shadow=None if slot.shadow is None else slot.shadow.clone(), **copies)


def stepped_by_torch(slot: AdamWSlot) -> tuple[Tensor, Tensor, Tensor, float]:
    """Value, mean, square and the gradient's norm after `torch.optim.AdamW`'s step."""
    value = slot.value.clone().requires_grad_()
    value.grad = slot.gradient.clone()
    limit = slot.max_grad_norm or float("inf")
    norm = torch.nn.utils.clip_grad_norm_([value], limit)
    settings = slot.settings
    optimizer = torch.optim.AdamW(
        [value],
        lr=slot.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        foreach=False,
        fused=False,
    )
    state = optimizer.state[value]
    state["step"] = torch.tensor(float(slot.step - 1))
    state["exp_avg"], state["exp_avg_sq"] = slot.mean.clone(), slot.square.clone()
    optimizer.step()
    return value.detach(), state["exp_avg"], state["exp_avg_sq"], float(norm)
