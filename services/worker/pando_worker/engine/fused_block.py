"""One decoder block of the Llama kind, forward and backward by hand.

The products of q, k and v are one, as are those of gate and up; residuals are added in place; and
of what autograd would keep, only what the backward pass reads is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.linear_group import Kept, LinearGroup
from pando_kernels.meft.beside import NetworkKept, meft_backward, meft_forward
from pando_kernels.packed_attention import (
    AttentionRule,
    AttentionTape,
    attention_backward,
    attention_forward,
)
from pando_kernels.pending import Pending
from pando_kernels.plan import NeededRows, Plan
from pando_kernels.rms_norm import add_rms_norm, rms_norm, rms_norm_backward
from pando_kernels.rope import rope_
from pando_kernels.swiglu import Activation, swiglu, swiglu_backward
from pando_shared.recompute import Recompute


@dataclass(frozen=True, slots=True)
class Norm:
    """A frozen RMS norm; Gemma's multiplies by `offset` + weight with offset 1."""

    weight: Tensor
    epsilon: float
    offset: float = 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, d] -> y [T, d], 1 / rms fp32 [T]."""
        return rms_norm(x, self.weight, self.epsilon, self.offset)

    def forward_sum(self, residual: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of residual + x, which is left in x's memory and returned first."""
        return add_rms_norm(residual, x, self.weight, self.epsilon, self.offset)

    def backward(self, dy: Tensor, x: Tensor, rstd: Tensor, add: Tensor | None) -> Tensor:
        """dx, added to `add` in place if it is given."""
        return rms_norm_backward(dy, x, self.weight, rstd, self.offset, add)


@dataclass(frozen=True, slots=True)
class Heads:
    """H query heads, H_kv key heads of D each; some models norm each head's q and k."""

    queries: int
    keys: int
    width: int
    query_norm: Norm | None = None
    key_norm: Norm | None = None

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[T, (H + 2 H_kv) D] -> views q [T, H, D], k and v [T, H_kv, D]."""
        q, k, v = qkv.view(qkv.shape[0], -1, self.width).split(
            [self.queries, self.keys, self.keys], 1
        )
        return q, k, v

    def rotated(self, qkv: Tensor) -> Tensor:
        """The view of q and k together, [T, H + H_kv, D], which positions rotate."""
        return qkv.view(qkv.shape[0], -1, self.width)[:, : self.queries + self.keys]


@dataclass(frozen=True, slots=True)
class Rotation:
    """cos and sin of the rows' positions, [T, D / 2] each."""

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True, slots=True)
class _HeadNorms:
    """q and k before their norms, with 1 / rms."""

    q: Tensor
    q_rstd: Tensor
    k: Tensor
    k_rstd: Tensor


@dataclass(slots=True)
class BlockTape:
    """What one block's backward pass reads. Without `parts`, it makes them from x again."""

    x: Tensor
    parts: _Parts | None


@dataclass(slots=True)
class _Parts:
    rstd1: Tensor
    qkv: Tensor
    head_norms: _HeadNorms | None
    attention: AttentionTape
    mixed: Tensor  # attention's output [T, H D]
    x2: Tensor  # behind the attention's residual, the needed rows alone
    h2: Tensor | None
    rstd2: Tensor
    gate_up: Tensor
    pending: Pending | None  # what gate_up lacks
    kept: tuple[Kept | None, Kept | None, Kept | None, Kept | None]
    meft: NetworkKept | None


@dataclass(frozen=True)
class FusedBlock:
    """x + attention(norm(x)), then + network(norm(x)); and MEFT adapters beside the network."""

    norm1: Norm
    qkv: LinearGroup
    heads: Heads
    rule: AttentionRule
    out: LinearGroup
    norm2: Norm
    gate_up: LinearGroup
    activation: Activation
    down: LinearGroup
    network: str

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of everything here that an adapter may be at."""
        return (*self.attention_modules, *self.gate_up.names, *self.down.names, self.network)

    @property
    def attention_modules(self) -> tuple[str, ...]:
        return (*self.qkv.names, *self.out.names)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation,
        plan: Plan,
        needed: NeededRows | None,
        recompute: Recompute | None,
    ) -> tuple[Tensor, BlockTape | None]:
        """x [T, d] -> [T, d], or the needed rows alone; recompute None: there is no backward."""
        y, parts = self._run(x, rotation, plan, needed)
        if recompute is None:
            return y, None
        if recompute is Recompute.BLOCK:
            return y, BlockTape(x, None)
        if recompute is Recompute.CHEAP:
            parts.h2 = None
            parts.kept = tuple(kept and kept.without_input() for kept in parts.kept)  # type: ignore[assignment]
        return y, BlockTape(x, parts)

    def _run(
        self, x: Tensor, rotation: Rotation, plan: Plan, needed: NeededRows | None
    ) -> tuple[Tensor, _Parts]:
        h1, rstd1 = self.norm1.forward(x)
        qkv, kept_qkv = self.qkv.forward(h1, plan)
        head_norms = self._norm_heads(qkv)
        rope_(self.heads.rotated(qkv), rotation.cos, rotation.sin)
        mixed, attention = attention_forward(*self.heads.split(qkv), plan.sequences, self.rule)
        mixed = mixed.view(x.shape[0], -1)
        x2, kept_out = self.out.forward(mixed, plan)
        if needed is None:
            x2, h2, rstd2 = self.norm2.forward_sum(x, x2)
        else:
            x2, plan = x2.add_(x).index_select(0, needed.rows), needed.plan
            h2, rstd2 = self.norm2.forward(x2)
        gate_up, kept_gate_up, pending = self.gate_up.forward_pending(h2, plan)
        y, kept_down = self.down.forward(swiglu(gate_up, self.activation, pending), plan)
        meft = meft_forward(h2, y, self.network, plan)
        y += x2
        kept = (kept_qkv, kept_out, kept_gate_up, kept_down)
        return y, _Parts(
            rstd1, qkv, head_norms, attention, mixed, x2, h2, rstd2, gate_up, pending, kept, meft
        )

    def backward(
        self,
        dy: Tensor,
        tape: BlockTape,
        rotation: Rotation,
        plan: Plan,
        needed: NeededRows | None,
        lowest: bool,
    ) -> Tensor | None:
        """dy of the forward's output's shape (overwritten) -> dx [T, d].

        lowest: no block below has an adapter, so that dx is not wanted: None.
        """
        parts = tape.parts or self._run(tape.x, rotation, plan, needed)[1]
        tape.parts = None
        kept_qkv, kept_out, kept_gate_up, kept_down = parts.kept
        lower_plan = plan if needed is None else needed.plan
        dx2 = self._network_backward(dy, parts, kept_gate_up, kept_down, lower_plan)
        if lowest and not plan.adapters.touches(self.attention_modules):
            return None
        if needed is not None:
            dx2 = dx2.new_zeros(tape.x.shape).index_copy_(0, needed.rows, dx2)
        dmixed = self.out.backward(dx2, kept_out, plan, parts.mixed, True)
        assert dmixed is not None
        dqkv = torch.empty_like(parts.qkv)
        attention_backward(
            dmixed.view(len(dmixed), -1, self.heads.width),
            parts.attention,
            self.heads.split(dqkv),
            plan.sequences,
            self.rule,
        )
        rope_(self.heads.rotated(dqkv), rotation.cos, rotation.sin, inverse=True)
        self._norm_heads_backward(dqkv, parts.head_norms)
        h1 = self.norm1.forward(tape.x)[0] if _lacks_input(kept_qkv) else None
        dh1 = self.qkv.backward(dqkv, kept_qkv, plan, h1, not lowest)
        return None if dh1 is None else self.norm1.backward(dh1, tape.x, parts.rstd1, dx2)

    def _network_backward(
        self,
        dy: Tensor,
        parts: _Parts,
        kept_gate_up: Kept | None,
        kept_down: Kept | None,
        plan: Plan,
    ) -> Tensor:
        """Through the network and its norm: dy [n, d] -> dx2 [n, d], in dy's memory."""
        gate_up, pending = parts.gate_up, parts.pending
        act = swiglu(gate_up, self.activation, pending) if _lacks_input(kept_down) else None
        dact, pending_dact = self.down.backward_pending(dy, kept_down, plan, act)
        dgate_up = swiglu_backward(dact, gate_up, self.activation, pending, pending_dact)
        needs_h2 = parts.h2 is None and (_lacks_input(kept_gate_up) or parts.meft is not None)
        h2 = self.norm2.forward(parts.x2)[0] if needs_h2 else parts.h2
        dh2 = self.gate_up.backward(dgate_up, kept_gate_up, plan, h2, True)
        assert dh2 is not None
        if parts.meft is not None:
            assert h2 is not None
            meft_backward(h2, dy, dh2, parts.meft)
        return self.norm2.backward(dh2, parts.x2, parts.rstd2, dy)

    def _norm_heads(self, qkv: Tensor) -> _HeadNorms | None:
        """Norm q and k head by head, in place, where the model does."""
        heads = self.heads
        if heads.query_norm is None or heads.key_norm is None:
            return None
        q, k, _ = heads.split(qkv)
        before = [t.reshape(-1, heads.width) for t in (q, k)]  # copies: q and k are strided
        (q_after, q_rstd), (k_after, k_rstd) = (
            norm.forward(t)
            for norm, t in zip((heads.query_norm, heads.key_norm), before, strict=True)
        )
        q.copy_(q_after.view(q.shape))
        k.copy_(k_after.view(k.shape))
        return _HeadNorms(before[0], q_rstd, before[1], k_rstd)

    def _norm_heads_backward(self, dqkv: Tensor, norms: _HeadNorms | None) -> None:
        heads = self.heads
        if norms is None or heads.query_norm is None or heads.key_norm is None:
            return
        dq, dk, _ = heads.split(dqkv)
        for grad, norm, before, rstd in (
            (dq, heads.query_norm, norms.q, norms.q_rstd),
            (dk, heads.key_norm, norms.k, norms.k_rstd),
        ):
            rows = grad.reshape(-1, heads.width)
            grad.copy_(norm.backward(rows, before, rstd, None).view(grad.shape))


def _lacks_input(kept: Kept | None) -> bool:
    """Whether the input that a LoRA's gradient reads must be made again."""
    return kept is not None and kept.reads_input and kept.x is None
