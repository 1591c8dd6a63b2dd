"""Our attention, registered with transformers, so that any of its models can run packed."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from pando_kernels.packed_attention import (
    AttentionRule,
    causal_window,
    masked_attention,
    quickest_attention,
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
    rule = AttentionRule(scale, sliding_window, softcap)
    plan = current_plan()
    queries, keys = query.shape[2], key.shape[2]
    if plan is not None and plan.sequences.tokens == keys == queries:
        q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
        return quickest_attention(q, k, v, plan.sequences, rule)[None], None
    # Generation: the queries are the last of the keys' positions.
    sees_all = queries == 1 and (sliding_window is None or keys <= sliding_window)
    visible = None if sees_all else causal_window(queries, keys, sliding_window, query.device)
    out = masked_attention(query, key, value, visible, rule)
    return out.transpose(1, 2).contiguous(), None
