"""Exported adapters back into the engine, for sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pando_kernels.lora import LoraLinear
from pando_kernels.meft.layer import MeftLayer
from pando_kernels.meft.loaded_memory import LoadedMemory
from pando_kernels.meft.loader import load_tensors
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import BaseModel

_PREFIX = "base_model.model."


def load_export(base: BaseModel, folder: Path) -> Mapping[str, LoraLinear | MeftLayer]:
    """The layers of an exported adapter, by module name; for forward passes only.

    Raises:
        InvalidRequest: the adapter was made for a base with other layers.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_tensors(folder)
    if config["peft_type"] == "PANDO_MEFT":
        return _meft_layers(base, config, tensors)
    rank = int(config["r"])
    scale = float(config["lora_alpha"]) / (rank**0.5 if config["use_rslora"] else rank)
    layers: dict[str, LoraLinear | MeftLayer] = {}
    for name, a in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        if module not in base.linears:
            raise InvalidRequest(f"the adapter changes {module}, which {base.path} does not have")
        b = tensors[f"{_PREFIX}{module}.lora_B.weight"]
        a, b = (t.to(base.device, base.dtype) for t in (a, b))
        layers[module] = LoraLinear(a, b, grad_a=a, grad_b=b, scale=scale)
    return layers


def _meft_layers(
    base: BaseModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Mapping[str, LoraLinear | MeftLayer]:
    probes, top_k = int(config["num_probes"]), int(config["top_k"])
    layers: dict[str, LoraLinear | MeftLayer] = {}
    for name, keys in tensors.items():
        if not name.endswith(".meft_keys"):
            continue
        module = name.removesuffix(".meft_keys")
        if module not in base.feed_forwards:
            raise InvalidRequest(f"the adapter works beside {module}, not found in {base.path}")
        # On a CPU the type that MEFT trains in, whatever the base computes in.
        dtype = keys.dtype if base.device.type == "cpu" else base.dtype
        memory = LoadedMemory(keys, tensors[f"{module}.meft_values"], base.device, dtype)
        router = tensors[f"{module}.meft_router"].to(base.device)
        layers[module] = MeftLayer(memory, router, router, probes, top_k)
    return layers
