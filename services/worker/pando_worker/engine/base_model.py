"""The frozen base: loading any decoder-only Hugging Face model and opening it for many jobs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from pando_kernels.frozen_head import FrozenHead
from pando_kernels.fused_linear import AdaptedLinear
from pando_kernels.meft import attach_meft
from pando_kernels.needed_rows import skip_unneeded_rows
from pando_kernels.plan import NeededRows, Plan, planned
from pando_shared.errors import InvalidRequest
from pando_worker.engine.attention import IMPLEMENTATION, register_attention

_FEED_FORWARD = re.compile(r"^(mlp|ffn|feed_forward|feedforward)$")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A frozen base, opened.

    `linears` maps each adaptable layer's full name to it; `feed_forwards` names the networks beside
    which MEFT works. `decoder` maps token ids to final hidden states, which `head` turns to logits.
    """

    path: str
    model: PreTrainedModel
    decoder: Callable[..., Any]
    head: FrozenHead
    linears: dict[str, AdaptedLinear]
    feed_forwards: tuple[str, ...]
    hidden_size: int
    max_positions: int
    device: torch.device
    dtype: torch.dtype

    def hidden_states(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        """Final hidden states of a packed microbatch: ids, positions int64 [T] -> [T, d]."""
        with planned(plan):
            output = self.decoder(
                input_ids=ids[None], position_ids=positions[None], use_cache=False
            )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def match(self, targets: tuple[str, ...]) -> list[str]:
        """Full names of the linears that `targets` mean: "all-linear", leaf names or suffixes.

        Raises:
            InvalidRequest: a target that matches nothing; lists what exists.
        """
        if not self.linears:
            raise InvalidRequest(
                f"{self.path} ({type(self.model).__name__}) has no linear layer that an adapter "
                "could change",
                param="model",
            )
        if targets == ("all-linear",):
            return list(self.linears)
        found = set()
        for target in targets:
            hits = [n for n in self.linears if n == target or n.endswith(f".{target}")]
            if not hits:
                leaves = sorted({name.rsplit(".", 1)[-1] for name in self.linears})
                raise InvalidRequest(
                    f"target module {target!r} matches no linear layer; "
                    f"this model has {', '.join(leaves)}",
                    param="adapter.target_modules",
                )
            found.update(hits)
        return [name for name in self.linears if name in found]

    def digest(self) -> str:
        """SHA-256 over every parameter's bytes: equal before and after, the base is untouched."""
        sha = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            sha.update(name.encode())
            data = parameter.detach().contiguous().view(torch.uint8)
            sha.update(data.cpu().numpy().tobytes())
        return sha.hexdigest()


def load_base(path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> BaseModel:
    """Load a causal language model from a folder or hub id and open it.

    Raises:
        InvalidRequest: the architecture cannot be trained packed; says why.
        OSError: no such model.
    """
    register_attention()
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=dtype,
        attn_implementation=IMPLEMENTATION,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return open_base(model, path, device)


def open_base(model: PreTrainedModel, path: str, device: str = "cpu") -> BaseModel:
    """Freeze a loaded model and put `AdaptedLinear` where its decoder blocks have linears."""
    register_attention()
    model.set_attn_implementation(IMPLEMENTATION)
    model.requires_grad_(False).eval().to(device)
    decoder = model.base_model
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        raise InvalidRequest(f"{path} has no linear output layer: not a causal language model")
    linears: dict[str, AdaptedLinear] = {}
    feed_forwards: list[str] = []
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module is not output:
            parent_name, _, leaf = name.rpartition(".")
            adapted = AdaptedLinear(name, module)
            setattr(model.get_submodule(parent_name), leaf, adapted)
            linears[name] = adapted
        elif _FEED_FORWARD.match(name.rpartition(".")[2]):
            attach_meft(name, module)
            feed_forwards.append(name)
    if feed_forwards and _block(feed_forwards[-1]) == max(map(_block, linears), default=-1):
        last = model.get_submodule(feed_forwards[-1])
        if _only_linears(last):
            skip_unneeded_rows(last)
    text = model.config.get_text_config()
    base = BaseModel(
        path=path,
        model=model,
        decoder=decoder,
        head=FrozenHead(
            output.weight, output.bias, float(getattr(text, "final_logit_softcapping", 0) or 0)
        ),
        linears=linears,
        feed_forwards=tuple(feed_forwards),
        hidden_size=int(text.hidden_size),
        max_positions=int(text.max_position_embeddings),
        device=output.weight.device,
        dtype=output.weight.dtype,
    )
    _check_packing(base)
    return base


def _block(name: str) -> int:
    """The number of the decoder block that a module is in: the first in its name."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _only_linears(module: nn.Module) -> bool:
    """Whether all of a module's weights are linears': a plain network, not a mixture of experts."""
    owners = [part for part in module.modules() if any(True for _ in part.parameters(False))]
    return all(isinstance(part, AdaptedLinear) for part in owners)


@torch.no_grad()
def _check_packing(base: BaseModel) -> None:
    """Two sequences packed must give the logits that the model's own attention gives each alone."""
    vocabulary = base.head.weight.shape[0]
    lengths = (5, 3)
    ids = torch.arange(sum(lengths), device=base.device) * 7919 % vocabulary
    positions = torch.cat([torch.arange(n, device=base.device) for n in lengths])
    needed = torch.tensor([1, 2, 4, 6], device=base.device)
    plan = Plan((), lengths, NeededRows(needed, Plan((), (3, 1))))
    ours = base.head.logits(base.hidden_states(ids, positions, plan)[needed])
    base.model.set_attn_implementation("eager")
    theirs = torch.cat(
        [base.model(input_ids=part[None]).logits[0].float() for part in ids.split(lengths)]
    )
    theirs = theirs[needed]
    base.model.set_attn_implementation(IMPLEMENTATION)
    tolerance = 1e-3 if base.dtype == torch.float32 else 0.1
    error = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))
    if not error <= tolerance:
        raise InvalidRequest(
            f"{base.path} ({type(base.model).__name__}) cannot be trained packed: its logits "
            f"differ by {error:.2g} (relative) from those of the same sequences alone",
            param="model",
        )
