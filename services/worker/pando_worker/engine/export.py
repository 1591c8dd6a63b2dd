"""Adapters for users: PEFT folders for LoRA and PaCA, safetensors with a loader for MEFT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import pando_kernels.meft.loader
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.base_model import BaseModel

#: A larger MEFT adapter is written in several files. (PEFT reads one alone.)
SHARD_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Card:
    """What the model card says beside the adapter's own configuration."""

    name: str
    base_model: str
    facts: Mapping[str, str]


def export_adapter(base: BaseModel, adapter: Adapter, card: Card, folder: Path) -> None:
    """Write `adapter_model.safetensors`, `adapter_config.json` and `README.md` to a fresh folder.

    A large MEFT adapter is in several such files, with an index as transformers writes them.

    LoRA and PaCA load with stock `PeftModel.from_pretrained` (PaCA as the rank-r LoRA whose A
    picks its columns, which it equals exactly). MEFT comes with `load_adapter.py`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    match adapter.config:
        case LoraConfig() as config:
            tensors, described = _lora_tensors(adapter), _peft_config(base, adapter, card, config)
        case PacaConfig() as config:
            as_lora = LoraConfig(rank=config.rank, alpha=config.scale * config.rank)
            tensors = _paca_tensors(base, adapter)
            described = _peft_config(base, adapter, card, as_lora)
        case MeftConfig() as config:
            tensors = dict(adapter.parameters)
            described = {
                "peft_type": "PANDO_MEFT",
                "base_model_name_or_path": card.base_model,
                **asdict(config),
                "num_experts": config.experts,
                "num_probes": config.probes,
            }
            shutil.copyfile(pando_kernels.meft.loader.__file__, folder / "load_adapter.py")
    _save(tensors, folder)
    (folder / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "README.md").write_text(_model_card(adapter, card))


def _save(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """In one file, or in several with an index of which tensor is where."""
    shards: list[dict[str, Tensor]] = [{}]
    for name, tensor in tensors.items():
        filled = sum(t.nbytes for t in shards[-1].values())
        if name.endswith((".meft_keys", ".meft_values")) and filled + tensor.nbytes > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = tensor.detach()
    total = len(shards)
    names = [f"adapter_model-{i + 1:05d}-of-{total:05d}.safetensors" for i in range(total)]
    if total == 1:
        names = ["adapter_model.safetensors"]
    else:
        index = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
        size = sum(tensor.nbytes for tensor in tensors.values())
        content = {"metadata": {"total_size": size}, "weight_map": index}
        (folder / "adapter_model.safetensors.index.json").write_text(json.dumps(content, indent=2))
    for file, shard in zip(names, shards, strict=True):
        on_host = {name: tensor.cpu().contiguous() for name, tensor in shard.items()}
        save_file(on_host, folder / file, metadata={"format": "pt"})


def _lora_tensors(adapter: Adapter) -> dict[str, Tensor]:
    return {
        f"base_model.model.{name}.weight": value
        for name, value in adapter.vector.parameters.items()
    }


def _paca_tensors(base: BaseModel, adapter: Adapter) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for module, columns in adapter.columns.items():
        one_hot = torch.zeros(len(columns), base.linears[module].in_features)
        one_hot[torch.arange(len(columns)), columns.cpu()] = 1.0
        tensors[f"base_model.model.{module}.lora_A.weight"] = one_hot
        tensors[f"base_model.model.{module}.lora_B.weight"] = adapter.vector.parameters[
            f"{module}.paca_P"
        ]
    return tensors


def _peft_config(
    base: BaseModel, adapter: Adapter, card: Card, config: LoraConfig
) -> dict[str, object]:
    leaves = sorted({name.rsplit(".", 1)[-1] for name in adapter.layers})
    # Leaf names where they say it all, full names where only some layers of a kind are adapted.
    covered = {name for name in base.linears if name.rsplit(".", 1)[-1] in leaves}
    targets = leaves if covered == set(adapter.layers) else sorted(adapter.layers)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": card.base_model,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "use_rslora": config.use_rslora,
        "target_modules": targets,
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }


def _model_card(adapter: Adapter, card: Card) -> str:
    kind = adapter.config.type
    if isinstance(adapter.config, MeftConfig):
        usage = (
            "from load_adapter import load_adapter  # the file beside this one\n"
            'model = load_adapter(AutoModelForCausalLM.from_pretrained(BASE), "PATH")'
        )
    else:
        usage = (
            "from peft import PeftModel\n"
            'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), "PATH")'
        )
    rows = "\n".join(f"| {name} | {value} |" for name, value in card.facts.items())
    knobs = ", ".join(f"{k} {v}" for k, v in asdict(adapter.config).items() if k != "type")
    return f"""---
base_model: {card.base_model}
library_name: {"transformers" if kind == "meft" else "peft"}
tags: [pando, {kind}]
---
# {card.name}

A {kind.upper()} adapter for `{card.base_model}`, trained with Pando
({adapter.parameter_count:,} parameters; {knobs}).

| | |
|---|---|
{rows}

```python
from transformers import AutoModelForCausalLM
{usage}
```
"""
