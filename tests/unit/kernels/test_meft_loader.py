"""The loader that users get runs MEFT as the dense formula says, on any module tree."""

from __future__ import annotations

import json

import pytest
import torch
from dense_meft import dense_meft
from numerics import make_meft, normal
from safetensors.torch import save_file
from torch import nn

from pando_kernels.meft.loader import load_adapter


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.ModuleDict({"block": nn.ModuleDict({"mlp": nn.Linear(8, 8)})}).double()


@pytest.fixture
def save(tmp_path):
    def save(layer, module="block.mlp", folder="adapter", **config):
        config = {
            "peft_type": "PANDO_MEFT",
            "num_probes": layer.probes,
            "top_k": layer.top_k,
            **config,
        }
        path = tmp_path / folder
        path.mkdir()
        (path / "adapter_config.json").write_text(json.dumps(config))
        tensors = {
            "keys": layer.memory.rows.keys,
            "values": layer.memory.rows.values,
            "router": layer.router,
        }
        save_file(
            {f"{module}.meft_{name}": tensor for name, tensor in tensors.items()},
            path / "adapter_model.safetensors",
        )
        return path

    return save


@pytest.mark.parametrize(("probes", "top_k"), [(2, 3), (4, 12), (1, 1), (3, 9)])
def test_output_equals_the_dense_formula(model, save, probes, top_k):
    layer = make_meft(1, 8, 4, 3, probes, top_k)
    x = normal(7, 2, 9, 8)
    plain = model["block"]["mlp"](x)
    load_adapter(model, save(layer))
    parts = (layer.memory.rows.keys, layer.memory.rows.values, layer.router)
    expected = plain + dense_meft(x.view(-1, 8), *parts, probes, top_k).view(x.shape)
    torch.testing.assert_close(model["block"]["mlp"](x), expected)


def test_loading_another_adapter_replaces_the_first(model, save):
    first, second = make_meft(1, 8, 4, 3, 2, 3), make_meft(5, 8, 2, 5, 1, 4)
    x = normal(7, 9, 8)
    plain = model["block"]["mlp"](x)
    load_adapter(model, save(first, folder="first"))
    load_adapter(model, save(second, folder="second"))
    parts = (second.memory.rows.keys, second.memory.rows.values, second.router)
    torch.testing.assert_close(model["block"]["mlp"](x), plain + dense_meft(x, *parts, 1, 4))


def test_another_kind_of_adapter_is_refused(model, save):
    with pytest.raises(ValueError, match="holds a LORA adapter"):
        load_adapter(model, save(make_meft(1, 8, 4, 3, 2, 3), peft_type="LORA"))


def test_another_architecture_is_refused(model, save):
    with pytest.raises(ValueError, match=r"beside stem\.mlp, which this model does not have"):
        load_adapter(model, save(make_meft(1, 8, 4, 3, 2, 3), module="stem.mlp"))
