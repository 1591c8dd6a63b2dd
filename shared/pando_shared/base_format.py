"""How a worker holds a frozen base: the type it computes in, and the form of its linear weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pando_shared.base_shape import BaseShape, LinearShape

#: What `PANDO_DTYPE` and `pando up --dtype` take.
Dtype = Literal["float32", "bfloat16", "float16", "nf4", "int8"]
Compute = Literal["float32", "bfloat16", "float16"]
WeightStorage = Literal["dense", "nf4", "int8"]

#: Linears that read the same input: the engine keeps each set as one weight.
_STACKED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_NF4_BLOCK = 64


@dataclass(frozen=True, slots=True)
class BaseFormat:
    """`compute` is the type of activations, embeddings, norms and the output head; `storage` says
    what the blocks' linear weights are kept as. Packed ones are unpacked for each product.
    """

    compute: Compute = "float32"
    storage: WeightStorage = "dense"

    @property
    def compute_bytes(self) -> int:
        return 4 if self.compute == "float32" else 2


def base_format(dtype: Dtype | None, device: str) -> BaseFormat:
    """What a worker makes of its setting: by default bfloat16 on a GPU and float32 on a CPU, which
    is also what it computes in where linears are packed.
    """
    own: Compute = "float32" if device == "cpu" else "bfloat16"
    match dtype:
        case None:
            return BaseFormat(own)
        case "nf4" | "int8":
            return BaseFormat(own, dtype)
        case _:
            return BaseFormat(dtype)


def base_bytes(base: BaseShape, held: BaseFormat) -> int:
    """Bytes of the base's weights once they are loaded."""
    numbers = sum(_numbers(linear) * linear.count for linear in base.linears)
    packed = sum(linear_bytes(linear, held) * linear.count for linear in base.linears)
    return packed + (base.parameters - numbers) * held.compute_bytes


def linear_bytes(linear: LinearShape, held: BaseFormat) -> int:
    """Bytes of one linear's weight [N, K], without its bias.

    int8: a byte a number, and a scale of 4 bytes a row. nf4: half a byte a number and a byte a
    block of 64 of a row, and 8 bytes a row.
    """
    n, k = linear.out_features, linear.in_features
    match held.storage:
        case "dense":
            return n * k * held.compute_bytes
        case "int8":
            return n * (k + 4)
        case "nf4":
            blocks = -(-k // _NF4_BLOCK)
            return n * (blocks * (_NF4_BLOCK // 2 + 1) + 8)


def unpacked_bytes(base: BaseShape, held: BaseFormat) -> int:
    """Bytes of the largest weight when it is unpacked, one at a time; 0 if none is packed."""
    if held.storage == "dense":
        return 0
    largest: dict[str, int] = {}
    for linear in base.linears:
        largest[linear.name] = max(largest.get(linear.name, 0), _numbers(linear))
    stacks = [sum(largest.get(name, 0) for name in names) for names in _STACKED]
    return held.compute_bytes * max([*largest.values(), *stacks])


def _numbers(linear: LinearShape) -> int:
    return linear.in_features * linear.out_features
