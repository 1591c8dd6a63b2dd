"""MEFT's rows wholly on the device, as where memory is no matter: what staging is held against."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings, adamw_tensors
from pando_kernels.meft.memory import HostJobMemory
from pando_kernels.meft.rows import HostRows, RowShape


def device_rows(shape: RowShape, dtype: torch.dtype, device: torch.device) -> HostRows:
    """Values, gradients and both moments on the device in fp32, and values in the type it computes
    in. Keys are uniform in ±1/√d, values zero.

    Raises:
        torch.OutOfMemoryError: they do not fit.
    """
    size, flags = (shape.layers, 2, shape.rows, shape.d), (shape.layers, shape.rows)

    def table(of: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(size, dtype=of, device=device)

    rows = HostRows(
        shape,
        value=table(),
        gradient=table(),
        mean=table(),
        square=table(),
        counts=torch.zeros(flags, dtype=torch.int32, device=device),
        touched=torch.zeros(flags, dtype=torch.bool, device=device),
        changed_at=torch.zeros(flags, dtype=torch.int32, device=device),
        shadow=None if dtype == torch.float32 else table(dtype),
    )
    bound = 1.0 / math.sqrt(shape.d)
    for layer in rows.value:
        layer[0].uniform_(-bound, bound)
    rows.refresh()
    return rows


class ResidentMemory(HostJobMemory):
    """A job whose rows lie on the device that computes, all updated by one fused AdamW."""

    def collect(self) -> float:
        norms = torch._foreach_norm(list(self.rows.gradient.unbind()))
        return float(torch.linalg.vector_norm(torch.stack(norms)))

    def step(self, step: int, learning_rate: float, settings: AdamWSettings, scale: float) -> None:
        rows = self.rows
        gradients = list(rows.gradient.unbind())
        if scale != 1.0:
            torch._foreach_mul_(gradients, scale)
        count = torch.tensor(float(step), device=rows.value.device)
        adamw_tensors(
            list(rows.value.unbind()),
            gradients,
            list(rows.mean.unbind()),
            list(rows.square.unbind()),
            [count] * len(gradients),
            learning_rate,
            settings,
        )
        rows.gradient.zero_()
        rows.touched.zero_()
        rows.refresh()
