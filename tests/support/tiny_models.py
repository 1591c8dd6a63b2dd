"""Tiny random models of several families, and random data for them."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from pando_worker.engine.data import ListSequences

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2),
    "qwen3": Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=16),
    "mistral": MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=16),
    "gemma": GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=8),
    "phi": PhiConfig(**SIZES),
}


def save_random_model(family: str, folder: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:  # larger than the default, so that losses move
                parameter.normal_(0.0, 0.15)
    model.save_pretrained(folder)


def random_sequences(seed: int, count: int, shortest=4, longest=40, vocabulary=96) -> ListSequences:
    """Sequences with about half their tokens as targets, at least one each, never the first."""
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        length = int(rng.integers(shortest, longest + 1))
        tokens = rng.integers(0, vocabulary, length)
        targets = rng.random(length) < 0.5
        targets[0], targets[-1] = False, True
        items.append((tokens, targets))
    return ListSequences(tuple(items))
