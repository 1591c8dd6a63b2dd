"""Load an exported MEFT adapter into a transformers model. Needs torch and safetensors alone.

    model = load_adapter(AutoModelForCausalLM.from_pretrained(base), "path/to/adapter")

A MEFT adapter selects per token, so it cannot be merged into the weights: it works beside each
feed-forward network, as out += W_V · TopK(ReLU(g · (W_K x))) over the keys of the token's best
experts. It may be larger than the GPU: with `rows_on="cpu"` keys and values stay in the host's
memory (mapped from the files, so that only what is read is loaded), and each forward pass brings
over the keys of the experts that its tokens visit and the values that they use.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def load_adapter(
    model: nn.Module, path: str | Path, rows_on: torch.device | str | None = None
) -> nn.Module:
    """Attach the adapter in folder `path` to `model`, in place, and return the model.

    An adapter loaded before is replaced. `rows_on`: where keys and values are kept; by default
    with the layer that they work beside.

    Raises:
        ValueError: the folder holds another kind of adapter, or one for another architecture.
    """
    folder = Path(path)
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type") != "PANDO_MEFT":
        raise ValueError(f"{folder} holds a {config.get('peft_type')} adapter, not a MEFT one")
    tensors = load_tensors(folder)
    modules = dict(model.named_modules())
    names = [name.removesuffix(".meft_keys") for name in tensors if name.endswith(".meft_keys")]
    for name in names:
        if name not in modules:
            raise ValueError(f"the adapter works beside {name}, which this model does not have")
        device = next(modules[name].parameters()).device
        rows = device if rows_on is None else torch.device(rows_on)
        sparse = _SparseAdapter(
            tensors[f"{name}.meft_keys"].to(rows),
            tensors[f"{name}.meft_values"].to(rows),
            tensors[f"{name}.meft_router"].to(device),
            probes=int(config["num_probes"]),
            top_k=int(config["top_k"]),
        )
        if not hasattr(modules[name], "meft"):  # else another adapter takes its place
            modules[name].register_forward_hook(_add_meft)
        modules[name].register_module("meft", sparse)
    return model


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of an exported adapter, which may be in several files, on the CPU."""
    index = folder / "adapter_model.safetensors.index.json"
    files = {"adapter_model.safetensors"}
    if index.exists():
        files = set(json.loads(index.read_text())["weight_map"].values())
    return {name: t for file in sorted(files) for name, t in load_file(folder / file).items()}


def _add_meft(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    delta: Tensor = module.get_submodule("meft")(inputs[0])
    return output + delta.to(output.dtype)


class _SparseAdapter(nn.Module):
    """keys, values [E, c, d], which stay where they are whatever the model is moved to; router
    [E, d]."""

    def __init__(self, keys: Tensor, values: Tensor, router: Tensor, probes: int, top_k: int):
        super().__init__()
        self.keys, self.values = keys, values
        self.register_buffer("router", router)
        self.probes, self.top_k = probes, top_k

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs [..., d] -> [..., d]."""
        router = self.get_buffer("router")
        x = inputs.reshape(-1, router.shape[1]).to(self.keys.dtype)
        gates, chosen = (x @ router.t().to(x.dtype)).topk(self.probes, dim=1)
        gated = x.new_zeros(*chosen.shape, self.keys.shape[1])  # [t, P, c]
        visited = chosen.unique().tolist()
        for expert in visited:
            token, probe = (chosen == expert).nonzero(as_tuple=True)
            keys = self.keys[expert].to(x.device)
            gated[token, probe] = gates[token, probe, None] * (x[token] @ keys.t())
        flat = gated.relu_().flatten(1)
        if self.top_k < flat.shape[1]:
            best = flat.topk(self.top_k, dim=1)
            flat = torch.zeros_like(flat).scatter(1, best.indices, best.values)
        activations = flat.view_as(gated)
        out = torch.zeros_like(x)
        for expert in visited:
            token, probe = (chosen == expert).nonzero(as_tuple=True)
            weights = activations[token, probe]
            used = weights.any(0).nonzero()[:, 0]
            values = self.values[expert].index_select(0, used.to(self.values.device))
            out.index_add_(0, token, weights[:, used] @ values.to(x.device))
        return out.view(inputs.shape)
