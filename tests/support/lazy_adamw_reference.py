"""AdamW whose rows count their own steps, a row at a time and in fp64. Independent of ours."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from pando_shared.training import Plan


def adamw_row(value, gradient, mean, square, step, lr, betas, eps, weight_decay):
    """One row's next value and moments: the formula of the paper, on fp64 vectors."""
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * gradient**2
    corrected = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    value = value - lr * weight_decay * value
    return value - lr * corrected[0] / (corrected[1].sqrt() + eps), mean, square


class LazyAdamW(Optimizer):
    """For parameters [E, c, d] in pairs of keys and values: a row is updated in the steps in which
    its value has a gradient. Parameters [E, d], routers, are updated in every step."""

    def __init__(self, parameters, plan: Plan):
        config = plan.config
        super().__init__(
            parameters,
            {
                "lr": plan.learning_rate,
                "betas": (config.adam_beta1, config.adam_beta2),
                "eps": config.adam_epsilon,
                "weight_decay": config.weight_decay,
            },
        )

    @torch.no_grad()
    def step(self, closure=None):
        (group,) = self.param_groups
        options = {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")}
        parameters = group["params"]
        values = [p for p in parameters if p.dim() == 3][1::2]
        touched = iter([(v.grad != 0).any(2).flatten() for v in values for _ in range(2)])
        for p in parameters:
            rows = p.view(-1, p.shape[-1])
            state = self.state[p]
            if not state:
                state["mean"], state["square"] = (torch.zeros_like(rows).double() for _ in "ms")
                state["steps"] = [0] * len(rows)
            flags = next(touched) if p.dim() == 3 else torch.ones(len(rows), dtype=torch.bool)
            for i in flags.nonzero()[:, 0].tolist():
                state["steps"][i] += 1
                gradient = p.grad.view(rows.shape)[i].double()
                value, state["mean"][i], state["square"][i] = adamw_row(
                    rows[i].double(),
                    gradient,
                    state["mean"][i],
                    state["square"][i],
                    state["steps"][i],
                    **options,
                )
                rows[i] = value.to(rows.dtype)
