"""Llamas of random weights, and the arithmetic that training adapters on them takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from length_mixes import Item
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from pando_shared.adapters import AdapterConfig, LoraConfig, PacaConfig


@dataclass(frozen=True, slots=True)
class LlamaShape:
    hidden: int
    network: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int

    @property
    def qkv(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of q, k and v."""
        keys = self.key_heads * self.head_width
        return [(self.hidden, width) for width in (self.heads * self.head_width, keys, keys)]

    @property
    def attention_linears(self) -> list[tuple[int, int]]:
        return [*self.qkv, (self.heads * self.head_width, self.hidden)]

    @property
    def network_linears(self) -> list[tuple[int, int]]:
        up = (self.hidden, self.network)
        return [up, up, (self.network, self.hidden)]


LLAMA_8B = LlamaShape(4096, 14336, 32, 32, 8, 128, 128256)
LLAMA_7B = LlamaShape(4096, 11008, 32, 32, 32, 128, 32000)
TINY = LlamaShape(64, 96, 2, 4, 2, 16, 128)


def build(shape: LlamaShape, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The model, its weights drawn where they stay."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.network,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_width,
        max_position_embeddings=16384,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with device:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model


def step_flops(
    shape: LlamaShape, jobs: Sequence[tuple[Sequence[Item], AdapterConfig | None]]
) -> float:
    """FLOPs that one pass over the jobs' sequences needs, forward and backward.

    Counted are products only, 2 FLOPs a multiplication, each once (nothing is made again):
    frozen linears forward and dX, which the first block's q, k and v do without; attention of
    each token to those before it, forward 2 products and backward 4; the output layer, forward
    and d(hidden), for tokens that predict a target; in the last block the feed-forward network
    for these tokens alone. LoRA: 2 products forward and 4 backward with r columns; PaCA: 1 and 2.
    An adapter of None is one too small to count.
    """
    total = 0.0
    for items, adapter in jobs:
        lengths = [len(tokens) for tokens, _ in items]
        rows, targets = sum(lengths), sum(int(at.sum()) for _, at in items)
        for layer in range(shape.layers):
            network_rows = targets if layer == shape.layers - 1 else rows
            for count, linears in (
                (rows, shape.attention_linears),
                (network_rows, shape.network_linears),
            ):
                total += sum(
                    count * (4.0 * k * n + _adapter_flops(k, n, adapter)) for k, n in linears
                )
            pairs = sum(length * (length + 1) / 2 for length in lengths)
            total += 6 * 2.0 * pairs * shape.heads * shape.head_width
        total -= rows * sum(2.0 * k * n for k, n in shape.qkv)
        total += targets * 4.0 * shape.hidden * shape.vocabulary
    return total


def _adapter_flops(inputs: int, outputs: int, adapter: AdapterConfig | None) -> float:
    """Of one row at one linear."""
    match adapter:
        case LoraConfig():
            return 6.0 * adapter.rank * (inputs + outputs)
        case PacaConfig():
            return 6.0 * adapter.rank * outputs
        case _:
            return 0.0
