"""All of one job's trained parameters as a single vector, with named views into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: Every view starts on a 64-byte boundary, as torch's own allocations do: the same kernels then
#: run whether a tensor stands alone or in a vector.
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class ParameterVector:
    """fp32 parameters, gradients and AdamW moments, each one vector [n].

    `parameters[name]` and `gradients[name]` are views of the named tensors. One vector makes the
    norm, the clip, the update, the checkpoint and the byte count of a job one operation each.
    `shadow` is `value` in the type that the base computes in, None if that is fp32; `computed` are
    the views that layers multiply with, of the shadow if there is one.
    """

    value: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    shadow: Tensor | None
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    computed: Mapping[str, Tensor]

    @property
    def bytes(self) -> int:
        shadow = 0 if self.shadow is None else self.shadow.nbytes
        return 4 * self.value.nbytes + shadow

    def refresh(self) -> None:
        """Bring the shadow up to the values, which something other than a step has changed."""
        if self.shadow is not None:
            self.shadow.copy_(self.value)

    @property
    def parameter_count(self) -> int:
        return sum(view.numel() for view in self.parameters.values())


def make_vector(
    initial: Mapping[str, Tensor], device: torch.device, compute: torch.dtype
) -> ParameterVector:
    """A vector that starts at the given tensors, its gradient and moments at zero.

    Layers multiply with it in the type `compute`.
    """
    offsets, size = {}, 0
    for name, tensor in initial.items():
        offsets[name] = size
        size += math.ceil(tensor.numel() / _ALIGNMENT) * _ALIGNMENT
    value, gradient, mean, square = (torch.zeros(size, device=device) for _ in range(4))

    def views(vector: Tensor) -> dict[str, Tensor]:
        return {
            name: vector[offsets[name] : offsets[name] + tensor.numel()].view(tensor.shape)
            for name, tensor in initial.items()
        }

    parameters = views(value)
    for name, tensor in initial.items():
        parameters[name].copy_(tensor)
    shadow = None if compute == torch.float32 else value.to(compute)
    computed = parameters if shadow is None else views(shadow)
    return ParameterVector(
        value, gradient, mean, square, shadow, parameters, views(gradient), computed
    )
