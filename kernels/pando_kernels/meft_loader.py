"""Load an exported MEFT adapter into a transformers model. Needs torch and safetensors alone.

    model = load_adapter(AutoModelForCausalLM.from_pretrained(base), "path/to/adapter")

A MEFT adapter selects per token, so it cannot be merged into the weights: it works beside each
feed-forward network, as out += W_V · TopK(ReLU(g · (W_K x))) over the keys of the token's best
experts.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def load_adapter(model: nn.Module, path: str | Path) -> nn.Module:
    """Attach the adapter in folder `path` to `model`, in place, and return the model.

    An adapter loaded before is replaced.

    Raises:
        ValueError: the folder holds another kind of adapter, or one for another architecture.
    """
    folder = Path(path)
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type") != "PANDO_MEFT":
        raise ValueError(f"{folder} holds a {config.get('peft_type')} adapter, not a MEFT one")
    tensors = load_file(folder / "adapter_model.safetensors")
    modules = dict(model.named_modules())
    for name, keys in tensors.items():
        if not name.endswith(".meft_keys"):
            continue
        module = name.removesuffix(".meft_keys")
        if module not in modules:
            raise ValueError(f"the adapter works beside {module}, which this model does not have")
        sparse = _SparseAdapter(
            keys,
            tensors[f"{module}.meft_values"],
            tensors[f"{module}.meft_router"],
            probes=int(config["num_probes"]),
            top_k=int(config["top_k"]),
        )
        device = next(modules[module].parameters()).device
        if not hasattr(modules[module], "meft"):  # else another adapter takes its place
            modules[module].register_forward_hook(_add_meft)
        modules[module].register_module("meft", sparse.to(device))
    return model


def _add_meft(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    delta: Tensor = module.get_submodule("meft")(inputs[0])
    return output + delta.to(output.dtype)


class _SparseAdapter(nn.Module):
    """keys, values [E, c, d]; router [E, d]."""

    def __init__(self, keys: Tensor, values: Tensor, router: Tensor, probes: int, top_k: int):
        super().__init__()
        self.register_buffer("keys", keys)
        self.register_buffer("values", values)
        self.register_buffer("router", router)
        self.probes, self.top_k = probes, top_k

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs [..., d] -> [..., d]."""
        keys, values, router = (self.get_buffer(n) for n in ("keys", "values", "router"))
        x = inputs.reshape(-1, keys.shape[2]).to(keys.dtype)
        scores = x @ router.t()
        gates, chosen = scores.topk(self.probes, dim=1)
        products = torch.stack([x @ expert.t() for expert in keys], dim=1)  # [t, E, c]
        index = chosen[:, :, None].expand(-1, -1, keys.shape[1])
        gated = (products.gather(1, index) * gates[:, :, None]).relu()
        flat = gated.flatten(1)
        if self.top_k < flat.shape[1]:
            best = flat.topk(self.top_k, dim=1)
            flat = torch.zeros_like(flat).scatter(1, best.indices, best.values)
        activations = torch.zeros_like(products).scatter(1, index, flat.view_as(gated))
        return torch.einsum("tec,ecd->td", activations, values).view(inputs.shape)
