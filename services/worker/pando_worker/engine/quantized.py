"""Freezing a linear weight in the form that the worker keeps its base in."""

from __future__ import annotations

from torch import Tensor

from pando_kernels.frozen_weight import DenseWeight, FrozenWeight
from pando_kernels.int8_weight import Int8Weight
from pando_shared.base_format import WeightStorage
from pando_shared.errors import InvalidRequest


def freeze_weight(weight: Tensor, storage: WeightStorage) -> FrozenWeight:
    """weight [N, K], one linear's or several stacked along N, as it will be kept on its device.

    It is quantised where it lies and computed in its own type. Whoever loads a base brings one
    weight at a time to the device, freezes it and drops it: then no more than one is ever there in
    16 bits, and a 70B base can be loaded on a card that would not hold it so.

    Raises:
        InvalidRequest: nf4 without bitsandbytes.
    """
    match storage:
        case "dense":
            return DenseWeight(weight)
        case "int8":
            return Int8Weight.quantize(weight, weight.dtype)
        case "nf4":
            try:
                from pando_kernels.nf4_weight import Nf4Weight
            except ImportError as error:
                raise InvalidRequest(
                    f"a base in nf4 needs bitsandbytes, which cannot be imported ({error}): "
                    "install pando-kernels[quantized] on the worker, or set PANDO_DTYPE=int8",
                    param="model",
                ) from error
            return Nf4Weight.quantize(weight, weight.dtype)
