"""Opening a base: what can be adapted, what must be refused, what stays as it was."""

from __future__ import annotations

import pytest
import torch
from engine_jobs import METHODS, logits_of, make_job
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    Gemma2Config,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
)

from pando_kernels.plan import make_plan
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.adapters import build_adapter
from pando_worker.engine.base_model import load_base, open_base
from pando_worker.engine.engine import Engine
from tiny_models import CONFIGS, SIZES, random_sequences


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def random_model(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0.0, 0.15)
    return model


def assert_packs(base, model):
    """Sequences packed give the logits that the unopened model gives them alone."""
    lengths = (23, 1, 40)
    ids = torch.arange(sum(lengths)) * 31 % 96
    positions = torch.cat([torch.arange(n) for n in lengths])
    with torch.no_grad():
        plan = make_plan([(n, {}) for n in lengths])
        ours = base.head.logits(base.decoder.evaluate(ids, positions, plan))
        theirs = torch.cat([model(input_ids=part[None]).logits[0] for part in ids.split(lengths)])
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", CONFIGS)
def test_packed_logits_are_the_stock_models(model_folder, family, implementation):
    stock = AutoModelForCausalLM.from_pretrained(
        model_folder(family), dtype=torch.float32, attn_implementation=implementation
    )
    assert_packs(load_base(model_folder(family)), stock.eval())


def test_soft_caps_and_alternating_windows():
    config = Gemma2Config(
        **SIZES,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        query_pre_attn_scalar=8,
        attn_implementation="eager",
    )
    stock, opened = random_model(config).eval(), random_model(config)
    assert_packs(open_base(opened, "gemma2"), stock)


def test_every_decoder_linear_can_be_adapted_and_the_head_cannot(base):
    assert len(base.linears) == 2 * 7
    assert not any("lm_head" in name for name in base.linears)
    assert base.feed_forwards == ("model.layers.0.mlp", "model.layers.1.mlp")


class TestTargets:
    def test_leaf_names(self, base):
        assert base.match(("v_proj", "q_proj")) == [
            f"model.layers.{i}.self_attn.{leaf}" for i in (0, 1) for leaf in ("q_proj", "v_proj")
        ]

    def test_suffixes_and_full_names(self, base):
        name = "model.layers.1.mlp.up_proj"
        assert base.match((name,)) == base.match(("layers.1.mlp.up_proj",)) == [name]

    def test_a_part_of_a_name_is_no_match(self, base):
        with pytest.raises(InvalidRequest):
            base.match(("proj",))

    @pytest.mark.parametrize("config", [LoraConfig, PacaConfig])
    def test_unknown_ones_are_refused_with_what_exists(self, base, config):
        adapter = config(target_modules=("q_proj", "query"))
        with pytest.raises(InvalidRequest) as caught:
            Engine(base, 10).join(make_job("j", adapter, random_sequences(1, 2)))
        assert "'query'" in caught.value.message
        for leaf in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            assert leaf in caught.value.message
        assert caught.value.param == "adapter.target_modules"

    def test_a_paca_rank_above_the_columns_is_refused(self, base):
        with pytest.raises(InvalidRequest, match="rank 33 exceeds the 32 input columns"):
            build_adapter(base, PacaConfig(rank=33), 0)

    def test_meft_in_a_layer_that_is_not_there(self, base):
        with pytest.raises(InvalidRequest, match="2 feed-forward networks; layers names 2"):
            build_adapter(base, MeftConfig(layers=(0, 2)), 0)


class TestFreshAdapters:
    @pytest.mark.parametrize("config", METHODS.values(), ids=list(METHODS))
    def test_they_change_nothing(self, base, config):
        ids = torch.arange(20)
        layers = build_adapter(base, config, 1).layers
        assert torch.equal(logits_of(base, layers, ids), logits_of(base, {}, ids))

    def test_a_seed_decides(self, base):
        first, again, other = (build_adapter(base, LoraConfig(), seed) for seed in (1, 1, 2))
        assert torch.equal(first.vector.value, again.vector.value)
        assert not torch.equal(first.vector.value, other.vector.value)

    def test_lora_starts_as_peft_starts_it(self, base):
        a = build_adapter(base, LoraConfig(rank=64), 1).vector.parameters[
            "model.layers.0.mlp.down_proj.lora_A"
        ]
        bound = 56**-0.5
        assert a.abs().max() <= bound
        assert a.abs().max() > 0.99 * bound
        assert float(a.std()) == pytest.approx(bound / 3**0.5, rel=0.05)

    def test_random_columns_differ_from_layer_to_layer(self, base):
        columns = build_adapter(base, PacaConfig(rank=8), 1).columns
        assert len({tuple(c.tolist()) for c in columns.values()}) > 10
        for chosen in columns.values():
            assert chosen.tolist() == sorted(set(chosen.tolist()))

    def test_weight_norm_takes_the_largest_columns(self, base):
        columns = build_adapter(base, PacaConfig(rank=3, selection="weight-norm"), 1).columns
        for name, chosen in columns.items():
            norms = base.linears[name].weight.norm(dim=0)
            rest = [i for i in range(len(norms)) if i not in chosen.tolist()]
            assert norms[chosen].min() >= norms[rest].max()


class TestRefusals:
    def test_layers_that_are_not_linear(self):
        """GPT-2 has Conv1D where others have linears: no LoRA could learn anything there."""
        config = GPT2Config(vocab_size=96, n_positions=64, n_embd=32, n_layer=1, n_head=4)
        base = open_base(random_model(config), "gpt2")
        with pytest.raises(InvalidRequest, match="no linear layer"):
            build_adapter(base, LoraConfig(), 0)

    def test_attention_that_ours_is_not(self):
        """Attention sinks reach an attention function as an argument that ours does not know."""
        config = GptOssConfig(
            **SIZES, num_key_value_heads=2, head_dim=8, num_local_experts=2, num_experts_per_tok=1
        )
        with pytest.raises(InvalidRequest, match="cannot be trained packed"):
            open_base(random_model(config), "gpt-oss")

    def test_a_model_that_is_not_causal(self):
        config = BertConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=1,
            num_attention_heads=4,
            is_decoder=False,
        )
        with pytest.raises(InvalidRequest):
            open_base(random_model(config), "bert")

    def test_no_such_model(self, tmp_path):
        with pytest.raises(OSError, match="nowhere"):
            load_base(str(tmp_path / "nowhere"))


def test_tied_embeddings_stay_tied():
    config = LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=True)
    base = open_base(random_model(config), "tied")
    embedding = base.model.get_input_embeddings()
    assert base.head.weight.data_ptr() == embedding.weight.data_ptr()
    before = base.digest()
    engine = Engine(base, 100)
    engine.join(make_job("j", LoraConfig(rank=2), random_sequences(1, 4), max_steps=3))
    while engine.step():
        pass
    assert base.digest() == before


def test_a_digest_sees_one_changed_bit(base, model_folder):
    other = load_base(model_folder("llama"))
    assert other.digest() == base.digest()
    next(iter(other.linears.values())).weight.view(-1)[7] += 1e-6
    assert other.digest() != base.digest()


def test_experts_of_a_mixture_pack_too():
    config = MixtralConfig(
        **SIZES, num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2
    )
    stock, opened = random_model(config).eval(), random_model(config)
    assert_packs(open_base(opened, "mixtral"), stock)
