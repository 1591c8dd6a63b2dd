"""The reference for MEFT: a stock transformers model with the dense masked formula hooked on."""

from __future__ import annotations

import torch
from dense_meft import dense_meft
from torch import nn
from transformers import AutoModelForCausalLM

from pando_worker.engine.adapters import Adapter

_PARTS = ("keys", "values", "router")


def meft_model(folder: str, adapter: Adapter) -> nn.Module:
    """A model whose only trainable parameters are those of the adapter, at the same values."""
    config = adapter.config
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
    for name in adapter.layers:
        module = model.get_submodule(name)
        for part in _PARTS:
            value = adapter.parameters[f"{name}.meft_{part}"].clone()
            module.register_parameter(f"meft_{part}", nn.Parameter(value))

        def add(module, inputs, output):
            x = inputs[0].reshape(-1, output.shape[-1])
            parts = (getattr(module, f"meft_{part}") for part in _PARTS)
            added = dense_meft(x, *parts, config.probes, config.top_k)
            return output + added.view(output.shape)

        module.register_forward_hook(add)
    return model
