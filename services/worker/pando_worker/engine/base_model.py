"""The frozen base: loading any decoder-only Hugging Face model and opening it for many jobs."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from pando_kernels.frozen_head import FrozenHead
from pando_kernels.frozen_weight import DenseWeight, FrozenWeight
from pando_kernels.fused_linear import AdaptedLinear
from pando_kernels.linear_group import LinearGroup
from pando_kernels.meft.beside import attach_meft
from pando_kernels.needed_rows import skip_unneeded_rows
from pando_kernels.plan import NeededRows, make_plan
from pando_shared.errors import InvalidRequest
from pando_worker.engine.attention import IMPLEMENTATION, register_attention
from pando_worker.engine.decoder import Decoder, ModuleDecoder
from pando_worker.engine.fused_model import fuse, fuses, merged, stack_linears

log = logging.getLogger(__name__)

_FEED_FORWARD = re.compile(r"^(mlp|ffn|feed_forward|feedforward)$")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A frozen base, opened.

    `linears` maps each adaptable layer's full name to it, `groups` are those that run as one
    product; `feed_forwards` names the networks beside which MEFT works. `decoder` maps token ids to
    final hidden states, which `head` turns to logits; `model` is the same base, layer by layer.
    """

    path: str
    model: PreTrainedModel
    decoder: Decoder
    head: FrozenHead
    linears: dict[str, AdaptedLinear]
    groups: tuple[LinearGroup, ...]
    feed_forwards: tuple[str, ...]
    hidden_size: int
    max_positions: int
    device: torch.device
    dtype: torch.dtype

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
        """SHA-256 over every weight's bytes: equal before and after, the base is untouched."""
        sha = hashlib.sha256()
        named: list[tuple[str, Tensor]] = list(self.model.named_parameters())
        for group in self.groups:
            stored = (*group.weight.stored, *(() if group.bias is None else (group.bias,)))
            named += [(" ".join(group.names), tensor) for tensor in stored]
        for name, tensor in named:
            sha.update(name.encode())
            data = tensor.detach().contiguous().view(torch.uint8)
            sha.update(data.cpu().numpy().tobytes())
        return sha.hexdigest()


Freeze = Callable[[Tensor], FrozenWeight]


def load_base(
    path: str, device: str = "cpu", dtype: torch.dtype = torch.float32, freeze: Freeze = DenseWeight
) -> BaseModel:
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
    return open_base(model, path, device, freeze)


def open_base(
    model: PreTrainedModel, path: str, device: str = "cpu", freeze: Freeze = DenseWeight
) -> BaseModel:
    """Freeze a loaded model and put `AdaptedLinear` where its decoder blocks have linears.

    Weights go to the device and through `freeze` one group at a time, so that a base that is stored
    quantised never lies there whole in 16 bit.
    """
    register_attention()
    model.set_attn_implementation(IMPLEMENTATION)
    model.requires_grad_(False).eval()
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        raise InvalidRequest(f"{path} has no linear output layer: not a causal language model")
    fusible = fuses(model)
    stem = model.base_model_prefix
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not output
    }
    layers = len(model.base_model.layers) if fusible else 0
    names = merged(stem, layers) if fusible else [(name,) for name in linears]
    adapted: dict[str, AdaptedLinear] = {}
    groups = []
    for group_names in names:
        group = stack_linears(
            group_names,
            [linears.pop(name) for name in group_names],
            lambda weight: freeze(weight.to(device)),
            torch.device(device),
        )
        groups.append(group)
        for name, linear in zip(group_names, _members(group), strict=True):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, linear)
            adapted[name] = linear
    model.to(device)
    feed_forwards = _feed_forwards(model)
    for name in feed_forwards:
        attach_meft(name, model.get_submodule(name))
    if feed_forwards and _block(feed_forwards[-1]) == max(map(_block, adapted), default=-1):
        last = model.get_submodule(feed_forwards[-1])
        if _only_linears(last):
            skip_unneeded_rows(last)
    text = model.config.get_text_config()
    base = BaseModel(
        path=path,
        model=model,
        decoder=ModuleDecoder(model.base_model),
        head=FrozenHead(
            output.weight, output.bias, float(getattr(text, "final_logit_softcapping", 0) or 0)
        ),
        linears=adapted,
        groups=tuple(groups),
        feed_forwards=feed_forwards,
        hidden_size=int(text.hidden_size),
        max_positions=int(text.max_position_embeddings),
        device=output.weight.device,
        dtype=output.weight.dtype,
    )
    if fusible:
        by_first = {group.names[0]: group for group in groups}
        fused = replace(base, decoder=fuse(model, stem, by_first))
        if _packing_error(fused) <= _tolerance(fused):
            return fused
        log.warning("%s: the fused decoder differs from the model; running it by module", path)
    error = _packing_error(base)
    if not error <= _tolerance(base):
        raise InvalidRequest(
            f"{path} ({type(model).__name__}) cannot be trained packed: its logits "
            f"differ by {error:.2g} (relative) from those of the same sequences alone",
            param="model",
        )
    return base


def _members(group: LinearGroup) -> list[AdaptedLinear]:
    """A module for each linear of a group, on the group's own memory."""
    members, start = [], 0
    for name, width in zip(group.names, group.widths, strict=True):
        rows = slice(start, start + width)
        bias = None if group.bias is None else group.bias[rows]
        members.append(AdaptedLinear(name, group.weight.rows(rows.start, rows.stop), bias))
        start += width
    return members


def _feed_forwards(model: PreTrainedModel) -> tuple[str, ...]:
    names = (name for name, _ in model.named_modules())
    return tuple(name for name in names if _FEED_FORWARD.match(name.rpartition(".")[2]))


def _block(name: str) -> int:
    """The number of the decoder block that a module is in: the first in its name."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _only_linears(module: nn.Module) -> bool:
    """Whether all of a module's weights are linears': a plain network, not a mixture of experts."""
    owners = [part for part in module.modules() if any(True for _ in part.parameters(False))]
    return all(isinstance(part, AdaptedLinear) for part in owners)


def _tolerance(base: BaseModel) -> float:
    return 1e-3 if base.dtype == torch.float32 else 0.1


@torch.no_grad()
def _packing_error(base: BaseModel) -> float:
    """How far two sequences' packed logits are from those that the model's own attention gives each
    alone, relative to the largest."""
    vocabulary = base.head.weight.shape[0]
    lengths = (5, 3)
    ids = torch.arange(sum(lengths), device=base.device) * 7919 % vocabulary
    positions = torch.cat([torch.arange(n, device=base.device) for n in lengths])
    needed = torch.tensor([1, 2, 4, 6], device=base.device)
    few = make_plan([(3, {}), (1, {})], device=base.device)
    plan = replace(
        make_plan([(n, {}) for n in lengths], device=base.device), needed=NeededRows(needed, few)
    )
    ours = base.head.logits(base.decoder.evaluate(ids, positions, plan))
    base.model.set_attn_implementation("eager")
    theirs = torch.cat(
        [base.model(input_ids=part[None]).logits[0].float() for part in ids.split(lengths)]
    )
    theirs = theirs[needed]
    base.model.set_attn_implementation(IMPLEMENTATION)
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))
