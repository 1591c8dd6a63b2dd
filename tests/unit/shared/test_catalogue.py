"""Base models as their files describe them, checked against transformers' own count."""

import json
from pathlib import Path

import pytest
import torch
from predicted_bytes import predict_peak_bytes
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, PretrainedConfig

from pando_shared.adapters import LoraConfig
from pando_shared.base_format import BaseFormat
from pando_shared.catalogue import Linear, load_catalogue, read_base_model
from pando_shared.errors import InvalidRequest

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


def save(config: PretrainedConfig, folder: Path) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_is_described_as_torch_sees_it(tmp_path: Path, tied: bool) -> None:
    model = save(LlamaConfig(**SMALL, tie_word_embeddings=tied), tmp_path)
    base = load_catalogue({"small": str(tmp_path)})["small"]
    assert base.parameters == sum(p.numel() for p in model.parameters())
    assert base.weight_bytes == 4 * base.parameters
    assert base.tied is tied
    assert (base.hidden_size, base.intermediate_size, base.layers) == (32, 80, 3)
    assert (base.heads, base.kv_heads, base.head_dim) == (4, 2, 8)
    assert (base.vocab_size, base.max_positions) == (96, 128)
    assert Linear("down_proj", 80, 32, 3) in base.linears
    assert Linear("k_proj", 32, 16, 3) in base.linears
    assert len(base.linears) == 7


def test_fused_projections_are_found_under_their_own_names(tmp_path: Path) -> None:
    save(Phi3Config(**SMALL), tmp_path)
    names = {linear.name for linear in read_base_model("phi", tmp_path).linears}
    assert names == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}


def test_the_byte_model_takes_what_the_catalogue_gives(tmp_path: Path) -> None:
    save(LlamaConfig(**SMALL), tmp_path)
    base = read_base_model("small", tmp_path)
    one = predict_peak_bytes(base, [LoraConfig()], 512, BaseFormat(), "cpu", 0)
    two = predict_peak_bytes(base, [LoraConfig(), LoraConfig()], 512, BaseFormat(), "cpu", 0)
    assert two > one > base.weight_bytes


def test_the_shards_of_a_model_add_up_and_a_second_copy_does_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    weight = {"model.layers.0.mlp.up_proj.weight": torch.zeros(80, 32)}
    save_file(weight, tmp_path / "model-00001-of-00002.safetensors")
    save_file(
        {"lm_head.weight": torch.zeros(96, 32)}, tmp_path / "model-00002-of-00002.safetensors"
    )
    save_file(weight, tmp_path / "consolidated.safetensors")
    base = read_base_model("shards", tmp_path)
    assert base.parameters == 80 * 32 + 96 * 32
    assert base.linears == (Linear("up_proj", 32, 80, 1),)
    assert not base.tied


def test_a_folder_without_safetensors_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    with pytest.raises(InvalidRequest, match="safe_serialization"):
        load_catalogue({"bare": str(tmp_path)})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a safetensors file"),
        (b"\xff" * 100, "not a safetensors file"),
        ((5).to_bytes(8, "little") + b"[1,2]", "not a safetensors file"),
        (
            (68).to_bytes(8, "little")
            + b'{"a.0.b.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
            "cut short",
        ),
    ],
)
def test_a_broken_weight_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidRequest, match=complaint):
        read_base_model("broken", tmp_path)


def test_a_config_that_lacks_something_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"config\.json"):
        read_base_model("none", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 32}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidRequest, match="num_attention_heads"):
        read_base_model("little", tmp_path)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        load_catalogue({"gone": "/no/such/folder"})


def test_a_hub_id_is_found_in_the_local_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    save(LlamaConfig(**SMALL), repository / "snapshots" / "abc123")
    assert load_catalogue({"hub": "org/name"})["hub"].layers == 3
