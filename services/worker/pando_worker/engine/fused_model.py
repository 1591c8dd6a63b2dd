"""Which models the fused decoder can run, and how their parts are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pando_kernels.frozen_weight import FrozenWeight
from pando_kernels.linear_group import LinearGroup
from pando_kernels.packed_attention import AttentionRule
from pando_kernels.swiglu import Activation
from pando_worker.engine.fused_block import FusedBlock, Heads, Norm
from pando_worker.engine.fused_decoder import FusedDecoder

#: Families whose blocks are these and nothing more, and what their RMS norms add to the weight.
_FAMILIES = {"llama": 0.0, "mistral": 0.0, "qwen2": 0.0, "qwen3": 0.0, "gemma": 1.0}
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_BLOCK = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_HEAD_NORMS = {"q_norm", "k_norm"}
_NETWORK = {"gate_proj", "up_proj", "down_proj"}

Freeze = Callable[[Tensor], FrozenWeight]


def fuses(model: PreTrainedModel) -> bool:
    """Whether the model is of a family, and of a shape, that the fused decoder runs."""
    config, decoder = model.config, model.base_model
    if config.model_type not in _FAMILIES or config.hidden_act not in _ACTIVATIONS:
        return False
    return all(_is_plain(block) for block in decoder.layers)


def _is_plain(block: nn.Module) -> bool:
    attention, network = _children(block.self_attn), _children(block.mlp)
    return (
        _children(block) == _BLOCK
        and attention - _HEAD_NORMS == _ATTENTION
        and len(attention & _HEAD_NORMS) in (0, 2)
        and network - {"act_fn"} == _NETWORK
        and all(isinstance(getattr(block.mlp, name), nn.Linear) for name in _NETWORK)
    )


def _children(module: Any) -> set[str]:
    return {name for name, _ in module.named_children()}


def merged(stem: str, layers: int) -> list[tuple[str, ...]]:
    """Names of the linears of each group, in the order of the model."""
    groups: list[tuple[str, ...]] = []
    for index in range(layers):
        block = f"{stem}.layers.{index}"
        groups.append(tuple(f"{block}.self_attn.{leaf}_proj" for leaf in "qkv"))
        groups.append((f"{block}.self_attn.o_proj",))
        groups.append(tuple(f"{block}.mlp.{leaf}_proj" for leaf in ("gate", "up")))
        groups.append((f"{block}.mlp.down_proj",))
    return groups


def stack_linears(
    names: tuple[str, ...], linears: list[nn.Linear], freeze: Freeze, device: torch.device
) -> LinearGroup:
    """Linears that read the same input, as one group."""
    weight = linears[0].weight if len(linears) == 1 else torch.cat([m.weight for m in linears])
    biases = [m.bias for m in linears]
    bias = None
    if any(b is not None for b in biases):
        zeros = (m.weight.new_zeros(m.out_features) for m in linears)
        whole = torch.cat([z if b is None else b for b, z in zip(biases, zeros, strict=True)])
        bias = whole.detach().to(device)
    widths = tuple(m.out_features for m in linears)
    return LinearGroup(names, widths, freeze(weight.detach()), bias)


def fuse(model: PreTrainedModel, stem: str, groups: dict[str, LinearGroup]) -> FusedDecoder:
    """The fused decoder of a model that `fuses`.

    stem is the decoder's name in the model; `groups` maps the name of each group's first linear to
    the group.
    """
    config: Any = model.config
    decoder: Any = model.base_model
    offset = _FAMILIES[config.model_type]
    scale = config.hidden_size**0.5 if config.model_type == "gemma" else 1.0

    def norm(module: Any) -> Norm:
        epsilon = getattr(module, "variance_epsilon", None) or module.eps
        return Norm(module.weight.detach(), float(epsilon), offset)

    def block(index: int, layer: Any) -> FusedBlock:
        name = f"{stem}.layers.{index}"
        attention = layer.self_attn
        width = int(attention.head_dim)
        qkv = groups[f"{name}.self_attn.q_proj"]
        norms = (
            (norm(attention.q_norm), norm(attention.k_norm))
            if hasattr(attention, "q_norm")
            else (None, None)
        )
        return FusedBlock(
            norm1=norm(layer.input_layernorm),
            qkv=qkv,
            heads=Heads(qkv.widths[0] // width, qkv.widths[1] // width, width, *norms),
            rule=AttentionRule(float(attention.scaling), _window(config, index)),
            out=groups[f"{name}.self_attn.o_proj"],
            norm2=norm(layer.post_attention_layernorm),
            gate_up=groups[f"{name}.mlp.gate_proj"],
            activation=_ACTIVATIONS[config.hidden_act],
            down=groups[f"{name}.mlp.down_proj"],
            network=f"{name}.mlp",
        )

    return FusedDecoder(
        embedding=decoder.embed_tokens.weight.detach(),
        embedding_scale=float(scale),
        rotary=decoder.rotary_emb,
        blocks=tuple(block(i, layer) for i, layer in enumerate(decoder.layers)),
        norm=norm(decoder.norm),
    )


def _window(config: Any, index: int) -> int | None:
    """The sliding window of a block, by the model's configuration."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and kinds[index] != "sliding_attention":
        return None
    window = getattr(config, "sliding_window", None)
    return None if window is None else int(window)
