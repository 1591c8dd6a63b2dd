"""All that an adapter trains, wherever it lies."""

from __future__ import annotations

import torch
from torch import Tensor

from pando_worker.engine.adapters import Adapter


def weights_of(adapter: Adapter) -> Tensor:
    """A copy of all parameters, one behind the other."""
    return torch.cat([value.flatten() for value in adapter.parameters.values()])


def fill_weights(adapter: Adapter, number: float) -> None:
    for value in adapter.parameters.values():
        value.fill_(number)


def gradients_of(adapter: Adapter) -> dict[str, Tensor]:
    """Copies of all gradients, by the parameters' names."""
    found = {name: gradient.clone() for name, gradient in adapter.vector.gradients.items()}
    if adapter.memory is not None:
        adapter.memory.collect()
        for index, name in enumerate(adapter.layers):
            rows = adapter.memory.rows.layer(index)
            found[f"{name}.meft_keys"] = rows.grad_keys.clone()
            found[f"{name}.meft_values"] = rows.grad_values.clone()
    return found
