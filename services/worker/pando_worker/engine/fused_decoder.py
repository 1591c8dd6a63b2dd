"""Decoders of the Llama kind without autograd: blocks forward, then the same blocks backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.plan import NeededRows, Plan
from pando_shared.recompute import Recompute
from pando_worker.engine.decoder import Tape
from pando_worker.engine.fused_block import BlockTape, FusedBlock, Norm, Rotation


@dataclass
class FusedDecoder:
    """Embedding, blocks and the last norm.

    rotary maps (a tensor of the activations' type, positions [1, T]) to cos and sin, [1, T, D]
    each, as transformers' rotary modules do. `recompute` may change between microbatches.
    """

    embedding: Tensor
    embedding_scale: float
    rotary: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    blocks: tuple[FusedBlock, ...]
    norm: Norm
    recompute: Recompute = Recompute.NOTHING

    @torch.no_grad()
    def evaluate(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        """ids, positions int64 [T] -> final hidden states of the needed rows, [n, d]."""
        x, rotation = self._start(ids, positions)
        for block in self.blocks:
            x, _ = block.forward(x, rotation, plan, self._needed(block, plan), None)
        return self.norm.forward(x)[0]

    @torch.no_grad()
    def train(self, ids: Tensor, positions: Tensor, plan: Plan) -> tuple[Tensor, Tape]:
        """The same, with the way back."""
        x, rotation = self._start(ids, positions)
        lowest = self._lowest(plan)
        tapes: list[BlockTape | None] = []
        for index, block in enumerate(self.blocks):
            kept = self.recompute if index >= lowest else None
            x, tape = block.forward(x, rotation, plan, self._needed(block, plan), kept)
            tapes.append(tape)
        rows, rstd = self.norm.forward(x)
        return rows, _FusedTape(self, plan, rotation, tapes, x, rstd)

    def _start(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation]:
        x = self.embedding.index_select(0, ids)
        if self.embedding_scale != 1.0:
            x *= torch.tensor(self.embedding_scale, dtype=x.dtype)  # rounded as the model rounds it
        cos, sin = self.rotary(x, positions[None])
        half = cos.shape[-1] // 2
        return x, Rotation(cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())

    def _needed(self, block: FusedBlock, plan: Plan) -> NeededRows | None:
        """Behind the last attention, a row whose hidden state nobody reads feeds nothing."""
        return plan.needed if block is self.blocks[-1] else None

    def _lowest(self, plan: Plan) -> int:
        """The lowest block with an adapter: the backward pass ends there."""
        for index, block in enumerate(self.blocks):
            if plan.adapters.touches(block.modules):
                return index
        return len(self.blocks)


@dataclass(slots=True)
class _FusedTape:
    decoder: FusedDecoder
    plan: Plan
    rotation: Rotation
    tapes: list[BlockTape | None]
    x: Tensor
    rstd: Tensor

    @torch.no_grad()
    def backward(self, d_rows: Tensor) -> None:
        """d_rows [n, d]. Each block's tape is dropped as soon as it has been read."""
        decoder = self.decoder
        gradient: Tensor | None = decoder.norm.backward(d_rows, self.x, self.rstd, None)
        for index in reversed(range(len(decoder.blocks))):
            tape, self.tapes[index] = self.tapes[index], None
            if tape is None:
                break
            assert gradient is not None
            block = decoder.blocks[index]
            needed = self.decoder._needed(block, self.plan)
            lowest = index == 0 or self.tapes[index - 1] is None
            gradient = block.backward(gradient, tape, self.rotation, self.plan, needed, lowest)
