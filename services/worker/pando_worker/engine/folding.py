"""PaCA without any overhead while its job is alone: the delta lies in the frozen weights.

That is the form of the paper (Woo et al., ICLR 2025, section 3.2): the chosen columns of W are
W + s · P, so that forward and backward are the plain products. Around each microbatch the columns
are written, and then put back bit for bit: nobody else ever sees a base that is not the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.paca import PacaLinear
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.base_model import BaseModel


@contextmanager
def folded(base: BaseModel, adapter: Adapter) -> Iterator[bool]:
    """Have a PaCA adapter in the base for a while: W[:, columns] is W + s · P, rounded once.

    Yields False, and changes nothing, where the base is not stored densely.
    """
    places = []
    for name, layer in adapter.layers.items():
        frozen = base.linears[name].frozen
        if not isinstance(frozen, DenseWeight) or not isinstance(layer, PacaLinear):
            yield False
            return
        original = frozen.weight.index_select(1, layer.columns)
        delta = adapter.vector.parameters[f"{name}.paca_P"]
        places.append((frozen.weight, layer, original, delta))
    try:
        for weight, layer, original, delta in places:
            column = torch.add(original.float(), delta, alpha=layer.scale)
            weight.index_copy_(1, layer.columns, column.to(weight.dtype))
        yield True
    finally:
        for weight, layer, original, _ in places:
            weight.index_copy_(1, layer.columns, original)
