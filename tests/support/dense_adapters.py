"""Adapted linears as each job's own dense formula in fp64, by autograd. Independent of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from philox_reference import keep
from torch import Tensor
from torch.nn import functional

from pando_kernels.dropout import RowKeys
from pando_kernels.linear_group import LinearGroup
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear

Linear = LoraLinear | PacaLinear
Segments = Sequence[tuple[int, Mapping[str, Linear]]]


@dataclass(frozen=True, slots=True)
class Expected:
    """y [T, N], dx [T, K]; gradients by (segment, module): a LoRA's of A and B, a PaCA's of P."""

    y: Tensor
    dx: Tensor
    gradients: dict[tuple[int, str], tuple[Tensor, ...]]


def parameters(adapter: Linear) -> tuple[Tensor, ...]:
    return (adapter.a, adapter.b) if isinstance(adapter, LoraLinear) else (adapter.b,)


def gradients(adapter: Linear) -> tuple[Tensor, ...]:
    if isinstance(adapter, LoraLinear):
        return adapter.grad_a, adapter.grad_b
    return (adapter.grad_b,)


def delta(adapter: Linear, leaves: tuple[Tensor, ...], inputs: int) -> Tensor:
    """What the adapter adds to W, [out, in]."""
    if isinstance(adapter, LoraLinear):
        a, b = leaves
        return adapter.scale * b @ a
    (p,) = leaves
    return adapter.scale * p.new_zeros(len(p), inputs).index_add(1, adapter.columns, p)


def masked(x: Tensor, adapter: Linear, keys: RowKeys | None, site: int) -> Tensor:
    """x [t, K] with the entries dropped that Philox, counted one by one, drops."""
    p = adapter.dropout
    if keys is None or p == 0.0:
        return x
    rows = zip(keys.sequence.tolist(), keys.position.tolist(), strict=True)
    kept = [[keep(key, place, site, k, p) for k in range(x.shape[1])] for key, place in rows]
    return x * torch.tensor(kept, dtype=x.dtype).view(x.shape) / (1.0 - p)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64, copy=True).requires_grad_()


def dense(
    group: LinearGroup, segments: Segments, x: Tensor, dy: Tensor, keys: RowKeys | None = None
) -> Expected:
    """Segment by segment, linear by linear: x (W + ΔW)ᵀ + bias, and all its gradients."""
    leaf = _leaf(x)
    weight = group.weight.dense().double()
    bias = None if group.bias is None else group.bias.double()
    found: dict[tuple[int, str], tuple[Tensor, ...]] = {}
    outputs, start = [], 0
    for index, (rows, adapters) in enumerate(segments):
        part = leaf[start : start + rows]
        columns, first = [], 0
        for name, width in zip(group.names, group.widths, strict=True):
            members = slice(first, first + width)
            y = functional.linear(part, weight[members], None if bias is None else bias[members])
            adapter = adapters.get(name)
            if adapter is not None:
                leaves = tuple(_leaf(t) for t in parameters(adapter))
                found[index, name] = leaves
                own = None if keys is None else keys.rows(slice(start, start + rows))
                dropped = masked(part, adapter, own, group.site)
                y = y + dropped @ delta(adapter, leaves, x.shape[1]).t()
            columns.append(y)
            first += width
        outputs.append(torch.cat(columns, dim=1))
        start += rows
    y = torch.cat(outputs)
    y.backward(dy.double())
    assert leaf.grad is not None
    made = {
        place: tuple(torch.zeros_like(t) if t.grad is None else t.grad for t in leaves)
        for place, leaves in found.items()
    }
    return Expected(y.detach(), leaf.grad, made)
