"""Exported adapters back into the engine, for sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pando_kernels.lora import LoraLinear
from pando_kernels.meft.layer import MeftLayer
from pando_kernels.meft.rows import RowShape
from pando_kernels.meft_loader import load_tensors
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.rows_home import RowsHome, make_home

_PREFIX = "base_model.model."


def load_export(
    base: BaseModel, folder: Path, home: RowsHome | None = None
) -> Mapping[str, LoraLinear | MeftLayer]:
    """The layers of an exported adapter, by module name; for forward passes only.

    Raises:
        InvalidRequest: the adapter was made for a base with other layers.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_tensors(folder)
    if config["peft_type"] == "PANDO_MEFT":
        home = home or make_home(base.device, base.dtype)
        return _meft_layers(base, config, tensors, home)
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
    base: BaseModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor], home: RowsHome
) -> Mapping[str, LoraLinear | MeftLayer]:
    found = {name.removesuffix(".meft_keys") for name in tensors if name.endswith(".meft_keys")}
    names = [name for name in base.feed_forwards if name in found]
    if len(names) < len(found):
        unknown = min(found.difference(names))
        raise InvalidRequest(f"the adapter works beside {unknown}, not found in {base.path}")
    experts, width, d = tensors[f"{names[0]}.meft_keys"].shape
    memories, owner = home.load(
        RowShape(len(names), experts, width, d),
        [(tensors[f"{name}.meft_keys"], tensors[f"{name}.meft_values"]) for name in names],
        base.dtype,
    )
    routers = [tensors[f"{name}.meft_router"].to(base.device) for name in names]
    probes, top_k = int(config["num_probes"]), int(config["top_k"])
    return {
        name: MeftLayer(of_layer, router, router, probes, top_k, owner=owner)
        for name, router, of_layer in zip(names, routers, memories, strict=True)
    }
