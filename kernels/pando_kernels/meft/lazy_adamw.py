"""AdamW for rows that only some steps touch, each with its own count of steps.

A row that no token used keeps its value and both moments as they are: it is not moved by what it
learnt long ago, and its bias correction and weight decay follow from the steps that touched it
alone. Where every step touches every row this is AdamW (arXiv 1711.05101, algorithm 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings, adamw_tensors

#: A run of neighbours that share a count is updated in place, by a call that costs some
#: microseconds; rows in shorter ones are gathered.
_RUN_NUMBERS = 2048
#: Numbers gathered at a time: few enough to stay in a core's cache through all passes.
_GATHERED_NUMBERS = 1 << 17
#: A rate of zero must not divide; this one moves nothing either.
_LEAST_RATE = 1e-30


@dataclass(frozen=True, slots=True)
class AdamWRows:
    """R tables of the same M rows; row i of every table is touched by the same steps.

    value, gradient, mean, square [R, M, d]; counts int32 [M]; shadow: a copy of the value in
    another type, kept up with it, or None.
    """

    value: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    counts: Tensor
    shadow: Tensor | None = None


@torch.no_grad()
def lazy_adamw(
    tables: AdamWRows, rows: Tensor, learning_rate: float, settings: AdamWSettings, scale: float
) -> None:
    """One step of `rows` (int64 [n], ascending), their gradients multiplied by `scale` and then
    cleared."""
    if not rows.numel():
        return
    steps = tables.counts.index_select(0, rows) + 1
    tables.counts.index_copy_(0, rows, steps)
    d = tables.value.shape[2]
    starts = torch.cat(
        [rows.new_zeros(1), (((rows.diff() != 1) | (steps.diff() != 0)).nonzero()[:, 0] + 1)]
    )
    lengths = torch.cat([starts[1:], starts.new_tensor([len(rows)])]) - starts
    long = lengths * d >= _RUN_NUMBERS
    runs = torch.stack([rows[starts], lengths, steps[starts].long()], 1)[long].tolist()
    if runs:
        _update_runs(tables, runs, learning_rate, settings, scale)
    single = ~long.repeat_interleave(lengths)
    if bool(single.any()):
        _update_gathered(tables, rows[single], steps[single], learning_rate, settings, scale)


def _update_runs(
    tables: AdamWRows,
    runs: list[list[int]],
    learning_rate: float,
    settings: AdamWSettings,
    scale: float,
) -> None:
    """Runs are (first row, length, step)."""

    def views(table: Tensor) -> list[Tensor]:
        return [t[first : first + n] for t in table.unbind(0) for first, n, _ in runs]

    values, gradients = views(tables.value), views(tables.gradient)
    counts = [torch.tensor(float(step)) for _, _, step in runs]
    if scale != 1.0:
        torch._foreach_mul_(gradients, scale)
    adamw_tensors(
        values,
        gradients,
        views(tables.mean),
        views(tables.square),
        counts * len(tables.value),
        learning_rate,
        settings,
    )
    torch._foreach_zero_(gradients)
    if tables.shadow is not None:
        torch._foreach_copy_(views(tables.shadow), values)


def _update_gathered(
    tables: AdamWRows,
    rows: Tensor,
    steps: Tensor,
    learning_rate: float,
    settings: AdamWSettings,
    scale: float,
) -> None:
    """The formula itself, on copies of the rows: what is subtracted from a value,
    rate / (1 - β1ⁿ) · m / (√s / √(1 - β2ⁿ) + ε), is m / (√s · factor + summand) here."""
    exact = steps.double()
    inverse = (1.0 - settings.beta1**exact) / max(learning_rate, _LEAST_RATE)
    factors = inverse / (1.0 - settings.beta2**exact).sqrt_()
    chunk = max(1, _GATHERED_NUMBERS // tables.value.shape[2])
    parts = zip(
        rows.split(chunk),
        factors.to(tables.value.dtype)[:, None].split(chunk),
        (inverse * settings.epsilon).to(tables.value.dtype)[:, None].split(chunk),
        strict=True,
    )
    for some, factor, summand in parts:
        for i in range(len(tables.value)):
            value, gradient, mean, square = (
                table[i] for table in (tables.value, tables.gradient, tables.mean, tables.square)
            )
            v, g, m, s = (t.index_select(0, some) for t in (value, gradient, mean, square))
            if scale != 1.0:
                g.mul_(scale)
            m.lerp_(g, 1.0 - settings.beta1)
            s.mul_(settings.beta2).addcmul_(g, g, value=1.0 - settings.beta2)
            if settings.weight_decay:
                v.mul_(1.0 - learning_rate * settings.weight_decay)
            torch.addcmul(summand, torch.sqrt(s, out=g), factor, out=g)
            v.addcdiv_(m, g, value=-1.0)
            value.index_copy_(0, some, v)
            mean.index_copy_(0, some, m)
            square.index_copy_(0, some, s)
            gradient.index_fill_(0, some, 0.0)
            if tables.shadow is not None:
                tables.shadow[i].index_copy_(0, some, v.to(tables.shadow.dtype))
