"""Causal attention over a packed microbatch: each sequence sees itself alone, without padding."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from pando_kernels import cpu_attention
from pando_kernels.sequences import Sequences


@dataclass(frozen=True, slots=True)
class AttentionRule:
    """What a layer's attention does with its scores.

    scale multiplies q·k. window: each token sees itself and the `window - 1` tokens before it;
    None: all before it. softcap: scores become softcap · tanh(score / softcap) (Gemma 2).
    """

    scale: float
    window: int | None = None
    softcap: float | None = None

    def hides_nothing(self, sequences: Sequences) -> bool:
        """Whether this is plain causal attention for sequences of these lengths."""
        return not self.softcap and (self.window is None or sequences.longest <= self.window)


def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule
) -> Tensor:
    """Causal self-attention within each of the sequences packed along T, for autograd.

    q [T, H, D]; k, v [T, H_kv, D] with H a multiple of H_kv. Returns [T, H, D].
    """
    if _varlen_serves(q, v, rule):
        return _varlen(q, k, v, sequences, rule)
    lengths = list(sequences.lengths)
    pieces = zip(*(t.split(lengths) for t in (q, k, v)), strict=True)
    return torch.cat([_one_sequence(*piece, rule=rule) for piece in pieces])


def _varlen_serves(q: Tensor, v: Tensor, rule: AttentionRule) -> bool:
    """Whether flash attention over variable lengths can take this."""
    sixteen_bit = q.dtype in (torch.bfloat16, torch.float16)
    fits = q.shape[-1] == v.shape[-1] <= 256 and q.shape[-1] % 8 == 0
    if not (q.is_cuda and sixteen_bit and fits) or rule.softcap:
        return False
    options = _varlen_options()
    return options is not None and (rule.window is None or "window_size" in options)


@cache
def _varlen_options() -> frozenset[str] | None:
    """What this torch's `varlen_attn` takes; None if it has none. Its options still change."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    options = frozenset(inspect.signature(varlen_attn).parameters)
    return options if "scale" in options else None


def varlen_arguments(
    options: frozenset[str], grouped: bool, rule: AttentionRule
) -> tuple[dict[str, Any], bool]:
    """Keyword arguments of causal attention for one of varlen's versions.

    The second value says whether grouped heads must be repeated by hand.
    """
    arguments: dict[str, Any] = {"scale": rule.scale}
    if "window_size" in options:
        left = -1 if rule.window is None else rule.window - 1
        arguments["window_size"] = (left, 0)
    else:
        arguments["is_causal"] = True
    repeat = grouped and "enable_gqa" not in options
    if grouped and not repeat:
        arguments["enable_gqa"] = True
    return arguments, repeat


def _varlen(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    groups = q.shape[1] // k.shape[1]
    arguments, repeat = varlen_arguments(_varlen_options() or frozenset(), groups > 1, rule)
    if repeat:
        k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    starts, longest = sequences.starts, sequences.longest
    return cast(Tensor, varlen_attn(q, k, v, starts, starts, longest, longest, **arguments))


def _one_sequence(q: Tensor, k: Tensor, v: Tensor, *, rule: AttentionRule) -> Tensor:
    """q [L, H, D] -> [L, H, D]."""
    length = q.shape[0]
    gqa = q.shape[1] != k.shape[1]
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    if not rule.softcap and (rule.window is None or length <= rule.window):
        out = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=rule.scale, enable_gqa=gqa
        )
    else:
        visible = causal_window(length, length, rule.window, q.device)
        out = masked_attention(q, k, v, visible, rule)
    return out[0].transpose(0, 1)


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, rule: AttentionRule
) -> Tensor:
    """q [B, H, Q, D], k and v [B, H_kv, K, D] -> [B, H, Q, D]; `visible` bool [Q, K], None: all."""
    if not rule.softcap:
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, scale=rule.scale, enable_gqa=q.shape[1] != k.shape[1]
        )
    # Capped scores, which no fused implementation offers on every device.
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    scores = torch.matmul(q, k.transpose(2, 3)) * rule.scale
    scores = rule.softcap * torch.tanh(scores / rule.softcap)
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(v.dtype), v)


def causal_window(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """bool [queries, keys]: what the last `queries` of `keys` positions may see."""
    row = torch.arange(keys - queries, keys, device=device)[:, None]
    column = torch.arange(keys, device=device)[None, :]
    visible = column <= row
    return visible if window is None else visible & (column > row - window)


@dataclass(frozen=True, slots=True)
class AttentionTape:
    """What the backward pass of one layer's attention needs."""

    out: Tensor
    leaves: tuple[Tensor, ...]
    kept: list[Tensor | None] | None


def attention_forward(
    q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule
) -> tuple[Tensor, AttentionTape]:
    """As `packed_attention`, without autograd: [T, H, D], and what `attention_backward` needs.

    q, k and v must not change until then.
    """
    if _by_hand_serves(q, v, sequences, rule):
        out = q.new_empty(q.shape)
        pieces = _heads_first(sequences, q, k, v, out)
        kept = [
            cpu_attention.forward(q_i, k_i, v_i, out_i, rule.scale)
            for q_i, k_i, v_i, out_i in pieces
        ]
        return out, AttentionTape(out, (q, k, v), kept)
    with torch.enable_grad():
        leaves = (q.detach(), k.detach(), v.detach())
        for leaf in leaves:
            leaf.requires_grad_()
        out = packed_attention(*leaves, sequences, rule)
    return out.detach(), AttentionTape(out, leaves, None)


def attention_backward(
    dout: Tensor,
    tape: AttentionTape,
    grads: tuple[Tensor, Tensor, Tensor],
    sequences: Sequences,
    rule: AttentionRule,
) -> None:
    """dout [T, H, D]; writes d(q), d(k), d(v) into `grads`, of the shapes of q, k and v."""
    if tape.kept is None:
        for target, value in zip(
            grads, torch.autograd.grad(tape.out, tape.leaves, dout), strict=True
        ):
            target.copy_(value)
        return
    pieces = _heads_first(sequences, dout, *tape.leaves, tape.out, *grads)
    for kept, (do, q, k, v, out, dq, dk, dv) in zip(tape.kept, pieces, strict=True):
        cpu_attention.backward(do, q, k, v, out, kept, (dq, dk, dv), rule.scale)


def _heads_first(sequences: Sequences, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut [T, H, D] tensors into the sequences' [H, L, D]."""
    lengths = list(sequences.lengths)
    return list(zip(*(t.transpose(0, 1).split(lengths, 1) for t in tensors), strict=True))


class _ByHand(Function):
    """`attention_forward` and `attention_backward` as one node of autograd's."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule
    ) -> Tensor:
        out, ctx.tape = attention_forward(q, k, v, sequences, rule)
        ctx.sequences, ctx.rule = sequences, rule
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = (torch.empty_like(leaf) for leaf in ctx.tape.leaves)
        attention_backward(gradients[0], ctx.tape, (q, k, v), ctx.sequences, ctx.rule)
        ctx.tape = None
        return q, k, v, None, None


def quickest_attention(
    q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule
) -> Tensor:
    """`packed_attention`, by hand where that is quicker."""
    if _by_hand_serves(q, v, sequences, rule):
        return cast(Tensor, _ByHand.apply(q, k, v, sequences, rule))  # type: ignore[no-untyped-call]
    return packed_attention(q, k, v, sequences, rule)


def _by_hand_serves(q: Tensor, v: Tensor, sequences: Sequences, rule: AttentionRule) -> bool:
    return q.device.type == "cpu" and q.shape[-1] == v.shape[-1] and rule.hides_nothing(sequences)
