"""Exported adapters, loaded by stock peft, by the copied loader and by us, give our logits."""

from __future__ import annotations

import importlib.util
import json

import peft
import pytest
import torch
from engine_jobs import logits_of, make_job, shake
from transformers import AutoModelForCausalLM

from pando_kernels.meft import loader
from pando_kernels.meft.visits import visits_of
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.export import Card, export_adapter
from pando_worker.engine.loading import load_export
from tiny_models import CONFIGS, random_sequences

IDS = torch.arange(37) * 31 % 96
CARD = Card("ft:tiny:acme::12345678", "tiny", {"job": "ftjob-1", "steps": "12"})
AS_PEFT = {
    "lora": LoraConfig(rank=8, dropout=0.3),
    "rslora": LoraConfig(rank=5, use_rslora=True, alpha=4),
    "one-module": LoraConfig(rank=3, target_modules=("layers.1.mlp.fc1", "layers.1.mlp.up_proj")),
    "paca": PacaConfig(rank=6),
    "paca-scaled": PacaConfig(rank=3, alpha=12, selection="weight-norm"),
}
MEFT = MeftConfig(num_keys=48, top_k=5, num_experts=6, num_probes=2)


def stock(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def exported(base, config, folder):
    """A trained-looking adapter's layers, its export being in `folder`."""
    resident = Engine(base, 100).join(make_job("j", config, random_sequences(1, 4)))
    shake(resident.adapter)
    export_adapter(base, resident.adapter, CARD, folder)
    return resident.adapter


def plain_logits(model):
    with torch.no_grad():
        return model(input_ids=IDS[None]).logits[0]


def assert_same(ours, theirs):
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


def only_existing(config, base):
    """The configuration, its targets reduced to those this family has."""
    targets = getattr(config, "target_modules", ())
    if "layers.1.mlp.fc1" not in targets:
        return config
    kept = tuple(t for t in targets if any(name.endswith(t) for name in base.linears))
    return LoraConfig(rank=config.rank, target_modules=kept)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("name", AS_PEFT)
def test_stock_peft_gives_the_engines_logits(model_folder, tmp_path, family, name):
    base = load_base(model_folder(family))
    adapter = exported(base, only_existing(AS_PEFT[name], base), tmp_path / "a")
    model = peft.PeftModel.from_pretrained(stock(model_folder(family)), tmp_path / "a").eval()
    ours = logits_of(base, adapter.layers, IDS)
    assert_same(ours, plain_logits(model))
    assert not torch.allclose(ours, logits_of(base, {}, IDS), atol=1e-2)


@pytest.mark.parametrize("name", AS_PEFT)
def test_merged_by_peft_the_logits_stay(model_folder, tmp_path, name):
    base = load_base(model_folder("llama"))
    adapter = exported(base, only_existing(AS_PEFT[name], base), tmp_path / "a")
    model = peft.PeftModel.from_pretrained(stock(model_folder("llama")), tmp_path / "a")
    assert_same(logits_of(base, adapter.layers, IDS), plain_logits(model.merge_and_unload()))


@pytest.mark.parametrize("family", CONFIGS)
def test_the_loader_gives_the_engines_logits_for_meft(model_folder, tmp_path, family):
    base = load_base(model_folder(family))
    adapter = exported(base, MEFT, tmp_path / "a")
    model = loader.load_adapter(stock(model_folder(family)), tmp_path / "a")
    ours = logits_of(base, adapter.layers, IDS)
    assert_same(ours, plain_logits(model))
    assert not torch.allclose(ours, logits_of(base, {}, IDS), atol=1e-2)


def test_the_copied_loader_stands_alone(model_folder, tmp_path):
    base = load_base(model_folder("llama"))
    adapter = exported(base, MEFT, tmp_path / "a")
    spec = importlib.util.spec_from_file_location("copied", tmp_path / "a" / "load_adapter.py")
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    assert "pando" not in (tmp_path / "a" / "load_adapter.py").read_text().split('"""', 2)[
        2
    ].lower().replace("pando_meft", "")
    model = copied.load_adapter(stock(model_folder("llama")), tmp_path / "a")
    assert_same(logits_of(base, adapter.layers, IDS), plain_logits(model))


@pytest.mark.parametrize("config", [*AS_PEFT.values(), MEFT], ids=[*AS_PEFT, "meft"])
def test_loading_an_export_gives_the_same_again(model_folder, tmp_path, config):
    base = load_base(model_folder("llama"))
    adapter = exported(base, only_existing(config, base), tmp_path / "a")
    layers = load_export(base, tmp_path / "a")
    assert sorted(layers) == sorted(adapter.layers)
    assert_same(logits_of(base, layers, IDS), logits_of(base, adapter.layers, IDS))


@pytest.mark.parametrize("config", [LoraConfig(rank=2), MEFT], ids=["lora", "meft"])
def test_another_bases_export_is_refused(model_folder, tmp_path, config):
    exported(load_base(model_folder("llama")), config, tmp_path / "a")
    other = load_base(model_folder("llama"))
    renamed = {f"stem.{name}": layer for name, layer in other.linears.items()}
    other.linears.clear()
    other.linears.update(renamed)
    object.__setattr__(other, "feed_forwards", ("stem.mlp",))
    with pytest.raises(InvalidRequest, match="the adapter"):
        load_export(other, tmp_path / "a")


def test_the_folder_holds_what_hubs_expect(model_folder, tmp_path):
    base = load_base(model_folder("llama"))
    adapter = exported(base, LoraConfig(rank=2), tmp_path / "lora")
    exported(base, MEFT, tmp_path / "meft")
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert {p.name for p in (tmp_path / "lora").iterdir()} == names
    assert {p.name for p in (tmp_path / "meft").iterdir()} == {*names, "load_adapter.py"}
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted({n.rsplit(".", 1)[-1] for n in adapter.layers})
    card = (tmp_path / "lora" / "README.md").read_text()
    assert card.startswith("---\nbase_model: tiny\nlibrary_name: peft\n")
    for expected in ("# ft:tiny:acme::12345678", "| job | ftjob-1 |", "rank 2"):
        assert expected in card


def test_a_large_adapter_is_in_several_files(model_folder, tmp_path, monkeypatch):
    base = load_base(model_folder("llama"))
    monkeypatch.setattr("pando_worker.engine.export.SHARD_BYTES", 10_000)
    adapter = exported(base, MEFT, tmp_path / "a")
    files = sorted(file.name for file in (tmp_path / "a").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"adapter_model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / "a" / "adapter_model.safetensors.index.json").read_text())
    assert sorted(index["weight_map"]) == sorted(adapter.parameters)
    assert sorted(set(index["weight_map"].values())) == files
    model = loader.load_adapter(stock(model_folder("llama")), tmp_path / "a")
    expected = logits_of(base, adapter.layers, IDS)
    assert_same(expected, plain_logits(model))
    assert_same(expected, logits_of(base, load_export(base, tmp_path / "a"), IDS))


def test_rows_stay_on_the_host_when_they_are_to(model_folder, tmp_path):
    base = load_base(model_folder("llama"))
    adapter = exported(base, MEFT, tmp_path / "a")
    model = stock(model_folder("llama"))
    loader.load_adapter(model, tmp_path / "a", rows_on="cpu")
    assert_same(logits_of(base, adapter.layers, IDS), plain_logits(model))
    sizes = sum(t.numel() for n, t in model.state_dict().items() if ".meft." in n)
    assert sizes == adapter.vector.parameter_count
    sparse = model.get_submodule(next(iter(adapter.layers))).meft
    model.to("meta")
    assert sparse.router.device.type == "meta"
    assert sparse.keys.device.type == sparse.values.device.type == "cpu"


def test_rows_loaded_for_sampling_bring_over_what_is_visited(model_folder, tmp_path):
    base = load_base(model_folder("llama"))
    adapter = exported(base, MEFT, tmp_path / "a")
    layers = load_export(base, tmp_path / "a")
    name, layer = next(iter(layers.items()))
    scores = torch.zeros(2, len(layer.router))
    scores[0, 1] = scores[1, 3] = 1.0
    visits = visits_of(scores, 1)
    (blocks,) = layer.memory.keys(visits)
    assert blocks.where.tolist() == [-1, 0, -1, 1] + [-1] * (len(layer.router) - 4)
    assert torch.equal(blocks.table, adapter.parameters[f"{name}.meft_keys"][[1, 3]])
    with pytest.raises(TypeError, match="forward passes"):
        layer.memory.gradients(visits, scores)
