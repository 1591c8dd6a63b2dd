"""The decoder without autograd learns what the model itself learns under autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from engine_jobs import METHODS
from microbatches import by_module, distance, flat, make_jobs, train
from numerics import normal
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.plan import AdapterSet, make_plan
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_worker.engine.base_model import load_base, open_base
from pando_worker.engine.decoder import ModuleDecoder
from pando_worker.engine.fused_block import Recompute
from pando_worker.engine.fused_decoder import FusedDecoder
from pando_worker.engine.microbatch import run_microbatch
from pando_worker.engine.packed_batch import pack_shares
from tiny_models import SIZES

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma"]
#: Shapes of these families that the tiny models do not have.
VARIANTS = {
    "biases": LlamaConfig(**SIZES, num_key_value_heads=1, attention_bias=True, mlp_bias=True),
    "yarn": LlamaConfig(
        **SIZES, rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}
    ),
    "windows-in-some-blocks": Qwen2Config(
        **SIZES,
        num_key_value_heads=4,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=1,
    ),
    "tanh-gelu": LlamaConfig(**SIZES, hidden_act="gelu_pytorch_tanh"),
}
#: Targets by what the backward pass can skip because of them.
PARTIAL = {
    "q-and-v": ("q_proj", "v_proj"),
    "k": ("k_proj",),
    "o": ("o_proj",),
    "gate": ("gate_proj",),
    "up": ("up_proj",),
    "down": ("down_proj",),
    "layer-0": ("0.self_attn.q_proj", "0.self_attn.k_proj", "0.mlp.down_proj"),
    "layer-1": ("1.self_attn.v_proj", "1.self_attn.o_proj", "1.mlp.up_proj"),
    "layer-1-network": ("1.mlp.gate_proj", "1.mlp.down_proj"),
}
JOBS = {
    **{name: [config] for name, config in METHODS.items()},
    **{f"lora-{name}": [LoraConfig(rank=3, target_modules=t)] for name, t in PARTIAL.items()},
    **{
        f"paca-{name}": [PacaConfig(rank=3, target_modules=PARTIAL[name])]
        for name in ("q-and-v", "down", "layer-1")
    },
    "everyone": [
        LoraConfig(rank=16),
        PacaConfig(rank=4, target_modules=PARTIAL["layer-1"]),
        MeftConfig(num_keys=32, top_k=5, num_experts=4, num_probes=2),
        LoraConfig(rank=20, dropout=0.3),
        LoraConfig(rank=2, target_modules=PARTIAL["q-and-v"], dropout=0.1),
        PacaConfig(rank=20),
    ],
}


@pytest.fixture(scope="module")
def bases(model_folder):
    """`bases(family)`: opened once for all tests of this module."""
    opened = {}

    def make(family):
        if family not in opened:
            opened[family] = load_base(model_folder(family))
        return opened[family]

    return make


def random_variant(name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(VARIANTS[name], dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return open_base(model, name)


def assert_learns_the_same(base, configs):
    """Losses, hits and each gradient of each job, to 1e-5."""
    jobs = make_jobs(base, configs)
    results, ours = train(base, jobs)
    expected, theirs = train(by_module(base), jobs)
    for result, reference in zip(results, expected, strict=True):
        assert result.loss == pytest.approx(reference.loss, rel=1e-5)
        assert (result.hits, result.targets) == (reference.hits, reference.targets)
    for job, reference in zip(ours, theirs, strict=True):
        for name, gradient in job.items():
            assert distance(gradient, reference[name]) < 1e-5, name


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_this_kind_run_fused(bases, family):
    assert isinstance(bases(family).decoder, FusedDecoder)


def test_others_run_by_module(bases):
    assert isinstance(bases("phi").decoder, ModuleDecoder)


def test_a_llama_with_another_activation_runs_by_module():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, hidden_act="relu"))
    assert isinstance(open_base(model, "relu").decoder, ModuleDecoder)


@pytest.mark.parametrize("configs", JOBS.values(), ids=list(JOBS))
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_autograds(bases, family, configs):
    assert_learns_the_same(bases(family), configs)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_the_families(name):
    base = random_variant(name)
    assert isinstance(base.decoder, FusedDecoder)
    assert_learns_the_same(base, JOBS["everyone"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("jobs", ["everyone", "lora-q-and-v", "paca", "meft", "lora-layer-1"])
def test_what_is_made_again_is_the_same_to_the_bit(bases, family, jobs):
    base = bases(family)
    made = make_jobs(base, JOBS[jobs])
    found = []
    for recompute in Recompute:
        decoder = replace(base.decoder, recompute=recompute)
        results, gradients = train(replace(base, decoder=decoder), made)
        found.append((results, [flat(job) for job in gradients]))
    (first, expected), *others = found
    assert all(gradient.any() for gradient in expected)
    for results, gradients in others:
        assert results == first
        for ours, theirs in zip(gradients, expected, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_in_bfloat16_is_as_near_to_fp32_as_the_model_itself(model_folder, bases, family):
    wide = bases(family)
    narrow = load_base(model_folder(family), dtype=torch.bfloat16)
    assert isinstance(narrow.decoder, FusedDecoder)
    configs = [LoraConfig(rank=4), PacaConfig(rank=5)]
    _, exact = train(wide, make_jobs(wide, configs))
    jobs = make_jobs(narrow, configs)
    _, fused = train(narrow, jobs)
    _, modules = train(by_module(narrow), jobs)
    for ours, theirs, truth in zip(fused, modules, exact, strict=True):
        error = distance(flat(ours), flat(truth))
        assert error < 0.1
        assert error < 1.5 * distance(flat(theirs), flat(truth))


@dataclass(frozen=True)
class CountedWeight(DenseWeight):
    """Counts products with dY in a list."""

    calls: list[int]

    def backward(self, dy: Tensor) -> Tensor:
        self.calls.append(len(dy))
        return super().backward(dy)


@pytest.fixture
def counted(model_folder):
    """A llama, and the weight of each group of linears by its first one's name."""
    base = load_base(model_folder("llama"), freeze=lambda weight: CountedWeight(weight, []))
    weights = {group.names[0].removeprefix("model.layers."): group.weight for group in base.groups}
    return base, weights


def trained_tape(base, configs):
    jobs = make_jobs(base, configs)
    batch = pack_shares(jobs.shares, jobs.set, base.device)
    return base.decoder.train(batch.ids, batch.positions, batch.plan)


BLOCK_0 = {"0.self_attn.q_proj", "0.self_attn.o_proj", "0.mlp.gate_proj", "0.mlp.down_proj"}


@pytest.mark.parametrize(
    ("target", "lowest", "skipped"),
    [
        ("q_proj", 0, {"0.self_attn.q_proj"}),
        ("0.mlp.down_proj", 0, {"0.self_attn.q_proj", "0.self_attn.o_proj"}),
        ("1.self_attn.o_proj", 1, BLOCK_0 | {"1.self_attn.q_proj"}),
        ("1.mlp.up_proj", 1, BLOCK_0 | {"1.self_attn.q_proj", "1.self_attn.o_proj"}),
    ],
)
def test_below_the_lowest_adapter_nothing_is_kept_and_nothing_runs_back(
    counted, target, lowest, skipped
):
    base, weights = counted
    rows, tape = trained_tape(base, [LoraConfig(rank=3, target_modules=(target,))])
    assert [kept is not None for kept in tape.tapes] == [lowest == 0, True]
    tape.backward(torch.ones_like(rows))
    assert {name for name, weight in weights.items() if not weight.calls} == skipped


def kept_tensors(block):
    """What a block's tape holds for its products' inputs, and the norm's output."""
    return [block.parts.h2, *(kept.x for kept in block.parts.kept)]


def test_what_is_made_again_is_not_kept(bases):
    tapes = {}
    for recompute in Recompute:
        base = bases("llama")
        base = replace(base, decoder=replace(base.decoder, recompute=recompute))
        _, tape = trained_tape(base, [LoraConfig(rank=3)])
        tapes[recompute] = tape.tapes
    assert all(block.parts is None for block in tapes[Recompute.BLOCK])
    assert all(tensor is None for b in tapes[Recompute.CHEAP] for tensor in kept_tensors(b))
    assert all(tensor is not None for b in tapes[Recompute.NOTHING] for tensor in kept_tensors(b))


def test_a_tape_is_dropped_as_it_is_read(bases):
    rows, tape = trained_tape(bases("llama"), [LoraConfig(rank=3)])
    tape.backward(torch.ones_like(rows))
    assert tape.tapes == [None, None]


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_sees_what_training_saw(bases, family):
    """Without dropout; to the bit."""
    base = bases(family)
    jobs = make_jobs(base, [LoraConfig(rank=3), METHODS["meft"], PacaConfig(rank=3)])
    batch = pack_shares(jobs.shares, jobs.set, base.device)
    rows, _ = base.decoder.train(batch.ids, batch.positions, batch.plan)
    assert torch.equal(rows, base.decoder.evaluate(batch.ids, batch.positions, batch.plan))
    assert not rows.requires_grad


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_rows_that_nobody_asks_for_are_all_rows(bases, family):
    """Without `needed`, hidden states and their gradients are whole."""
    base = bases(family)
    jobs = make_jobs(base, [LoraConfig(rank=3), PacaConfig(rank=3)])
    plan = make_plan([(20, jobs.adapters[0].layers), (13, jobs.adapters[1].layers)], [20, 5, 8])
    ids = torch.arange(33) * 7 % 96
    positions = torch.cat([torch.arange(n) for n in (20, 5, 8)])
    d_rows = normal(1, 33, 32, dtype=torch.float32)
    found = []
    for decoder in (base.decoder, by_module(base).decoder):
        for adapter in jobs.adapters:
            adapter.vector.gradient.zero_()
        rows, tape = decoder.train(ids, positions, plan)
        tape.backward(d_rows.clone())
        found.append([rows, *(adapter.vector.gradient.clone() for adapter in jobs.adapters)])
    for ours, theirs in zip(*found, strict=True):
        assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("recompute", Recompute)
def test_a_job_without_targets_learns_nothing_and_disturbs_nobody(bases, recompute):
    base = bases("llama")
    base = replace(base, decoder=replace(base.decoder, recompute=recompute))
    jobs = make_jobs(base, [LoraConfig(rank=3), METHODS["meft"], PacaConfig(rank=3)])
    _, expected = train(base, jobs)
    silent = [(tokens, np.zeros_like(targets)) for tokens, targets in jobs.shares[1].sequences]
    shares = (jobs.shares[0], replace(jobs.shares[1], sequences=silent), jobs.shares[2])
    results, found = train(base, replace(jobs, shares=shares))
    assert [result.targets > 0 for result in results] == [True, False, True]
    assert not flat(found[1]).any()
    for place in (0, 2):
        assert distance(flat(found[place]), flat(expected[place])) < 1e-5


def test_a_batch_without_targets(bases):
    base = bases("llama")
    jobs = make_jobs(base, [LoraConfig(rank=3), METHODS["meft"], PacaConfig(rank=3)])
    shares = tuple(
        replace(share, sequences=[(t, np.zeros_like(targets)) for t, targets in share.sequences])
        for share in jobs.shares
    )
    results, found = train(base, replace(jobs, shares=shares))
    assert [(result.loss, result.targets) for result in results] == [(0.0, 0)] * 3
    assert not any(flat(job).any() for job in found)


def test_without_adapters_there_is_no_way_back(bases):
    base = bases("llama")
    share = replace(make_jobs(base, [LoraConfig(rank=3)]).shares[0], slot=-1)
    (result,) = run_microbatch(base, AdapterSet(()), [share], train=True)
    assert np.isfinite(result.loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_base_is_as_it_was(bases, family):
    base = bases(family)
    before = base.digest()
    train(base, make_jobs(base, JOBS["everyone"]))
    assert base.digest() == before
