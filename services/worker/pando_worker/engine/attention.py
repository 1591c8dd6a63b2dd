"""Our attention, registered with transformers, so that any of its models can run packed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

from pando_kernels.packed_attention import (
    causal_window,
    packed_attention,
    softcapped_attention,
)
from pando_kernels.plan import current_plan

IMPLEMENTATION = "pando_packed"


def register_attention() -> None:
    """Make `attn_implementation="pando_packed"` known. May be called any number of times."""
    AttentionInterface.register(IMPLEMENTATION, _attention)
    AttentionMaskInterface.register(IMPLEMENTATION, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """Sequences are told apart by the plan, so transformers need not build a mask."""
    return


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [B, H, Q, D], key and value [B, H_kv, K, D] -> [B, Q, H, D]. The mask is not used."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    plan = current_plan()
    if plan is not None and sum(plan.lengths) == key.shape[2] == query.shape[2]:
        out = packed_attention(query, key, value, plan.lengths, scale, sliding_window, softcap)
        return out, None
    return _unpacked(query, key, value, scale, sliding_window, softcap), None


def _unpacked(
    q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """Generation: the queries are the last of the keys' positions. Returns [B, Q, H, D]."""
    queries, keys = q.shape[2], k.shape[2]
    visible = causal_window(queries, keys, window, q.device)
    if softcap:
        return softcapped_attention(q, k, v, visible, scale, softcap).transpose(1, 2)
    mask = None if queries == 1 and (window is None or keys <= window) else visible
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return torch.Tensor.transpose(out, 1, 2).contiguous()
