"""The base models that are offered, described without torch: shapes, counts and bytes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pando_shared.errors import InvalidRequest
from pando_shared.model_folder import model_folder
from pando_shared.safetensors_header import TensorInfo, read_header

#: A weight inside a decoder block: `model.layers.3.self_attn.q_proj.weight` -> `q_proj`.
_BLOCK_WEIGHT = re.compile(r"\.\d+\.(?:.*\.)?(?P<leaf>[^.]+)\.weight$")
_OUTPUT_HEADS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear layers of one name and shape; `count` of them lie in the model's blocks."""

    name: str
    in_features: int
    out_features: int
    count: int


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A frozen base as users name it, and what predictions need to know of it.

    `weight_bytes` are the bytes of its files' tensors; `tied` says that the output head shares the
    embedding's weight.
    """

    name: str
    path: str
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    weight_bytes: int
    parameters: int
    linears: tuple[Linear, ...]
    tied: bool


def load_catalogue(models: Mapping[str, str]) -> dict[str, BaseModel]:
    """Describe every model of `PANDO_MODELS`: names to folders or hub ids.

    Raises:
        InvalidRequest: a model cannot be found or read; the message names it.
    """
    return {name: read_base_model(name, model_folder(source)) for name, source in models.items()}


def read_base_model(name: str, folder: Path) -> BaseModel:
    """Describe the model in a Hugging Face folder from `config.json` and its weights' headers.

    Raises:
        InvalidRequest: there is no config, no safetensors file, or one that cannot be understood.
    """
    config = _read_config(name, folder)
    # Some repositories hold the same weights a second time as `consolidated.safetensors`.
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    tensors = [tensor for file in files for tensor in read_header(file)]
    if not tensors:
        raise InvalidRequest(
            f"base model {name!r}: {folder} holds no *.safetensors file; save the model with "
            "save_pretrained(..., safe_serialization=True)",
            param="model",
        )

    def size(*keys: str, default: int | None = None) -> int:
        for key in keys:
            if isinstance(config.get(key), int):
                return int(config[key])
        if default is None:
            raise InvalidRequest(
                f"base model {name!r}: {folder / 'config.json'} has no {keys[0]}", param="model"
            )
        return default

    hidden = size("hidden_size", "n_embd", "d_model")
    heads = size("num_attention_heads", "n_head", "num_heads")
    return BaseModel(
        name=name,
        path=str(folder),
        hidden_size=hidden,
        intermediate_size=size("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
        layers=size("num_hidden_layers", "n_layer", "num_layers"),
        heads=heads,
        kv_heads=size("num_key_value_heads", default=heads),
        head_dim=size("head_dim", default=hidden // heads),
        vocab_size=size("vocab_size"),
        max_positions=size("max_position_embeddings", "n_positions", "max_seq_len"),
        weight_bytes=sum(tensor.bytes for tensor in tensors),
        parameters=sum(tensor.elements for tensor in tensors),
        linears=_linears(tensors),
        # Files hold a tied weight once, under the embedding's name.
        tied=not any(tensor.name.endswith(_OUTPUT_HEADS) for tensor in tensors),
    )


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"base model {name!r}: cannot read {path}: {error}", param="model"
        ) from error
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else dict(config)


def _linears(tensors: list[TensorInfo]) -> tuple[Linear, ...]:
    """Weights of two dimensions inside numbered blocks, [out, in] each, in the files' order."""
    found: Counter[tuple[str, int, int]] = Counter()
    for tensor in tensors:
        match = _BLOCK_WEIGHT.search(tensor.name)
        if match and len(tensor.shape) == 2:
            found[match["leaf"], tensor.shape[1], tensor.shape[0]] += 1
    return tuple(Linear(leaf, inn, out, count) for (leaf, inn, out), count in found.items())
