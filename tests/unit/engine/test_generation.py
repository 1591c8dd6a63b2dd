"""Greedy generation equals transformers' own, with and without adapters."""

from __future__ import annotations

import peft
import pytest
import torch
from engine_jobs import make_job, shake
from transformers import AutoModelForCausalLM

from pando_kernels.meft.loader import load_adapter
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.export import Card, export_adapter
from pando_worker.engine.generation import Sampling, generate
from tiny_models import CONFIGS, random_sequences

PROMPT = (torch.arange(21) * 17 % 96).tolist()  # longer than Mistral's window
COUNT = 24
ADAPTERS = {
    "base": None,
    "lora": LoraConfig(rank=4),
    "paca": PacaConfig(rank=4),
    "meft": MeftConfig(num_keys=48, top_k=5, num_experts=6, num_probes=2),
}


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def theirs(folder, export, config):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if isinstance(config, MeftConfig):
        model = load_adapter(model, export)
    elif config is not None:
        model = peft.PeftModel.from_pretrained(model, export)
    ids = torch.tensor([PROMPT])
    made = model.eval().generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=COUNT,
        min_new_tokens=COUNT,
        do_sample=False,
        pad_token_id=0,
    )
    return made[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("family", CONFIGS)
def test_greedy_equals_transformers(model_folder, tmp_path, family, name):
    folder, config = model_folder(family), ADAPTERS[name]
    base, layers = load_base(folder), {}
    if config is not None:
        resident = Engine(base, 100).join(make_job("j", config, random_sequences(1, 4)))
        shake(resident.adapter)
        layers = resident.adapter.layers
        export_adapter(base, resident.adapter, Card("n", "tiny", {}), tmp_path / "a")
    # Their `min_new_tokens` forbids the end token; ours cannot meet one it is not told of.
    end = base.model.generation_config.eos_token_id
    ours = list(generate(base, layers, PROMPT, Sampling(COUNT, temperature=0.0)))
    expected = theirs(folder, tmp_path / "a", config)
    if end in ours:
        stop = ours.index(end)
        ours, expected = ours[:stop], expected[:stop]
    assert ours == expected


def test_an_end_token_ends_it(base):
    free = list(generate(base, {}, PROMPT, Sampling(COUNT, temperature=0.0)))
    end = free[5]
    sampling = Sampling(COUNT, temperature=0.0, end_tokens=frozenset({end}))
    assert list(generate(base, {}, PROMPT, sampling)) == free[: free.index(end)]


def test_the_models_positions_are_the_limit(base):
    prompt = PROMPT * 6  # 126 of 128 positions
    assert len(list(generate(base, {}, prompt, Sampling(50)))) == 2
    assert list(generate(base, {}, prompt + PROMPT[:2], Sampling(50))) == []


def test_a_seed_repeats_itself(base):
    def draw(seed):
        return list(generate(base, {}, PROMPT, Sampling(COUNT, temperature=1.5, seed=seed)))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_tiny_top_p_is_greedy(base):
    greedy = list(generate(base, {}, PROMPT, Sampling(COUNT, temperature=0.0)))
    nucleus = Sampling(COUNT, temperature=1.0, top_p=1e-6, seed=3)
    assert list(generate(base, {}, PROMPT, nucleus)) == greedy


def test_samples_follow_the_models_probabilities(base):
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([PROMPT])).logits[0, -1]
    expected = (logits / 2.0).softmax(0)
    draws = 400
    counts = torch.zeros(96)
    for seed in range(draws):
        (token,) = generate(base, {}, PROMPT, Sampling(1, temperature=2.0, seed=seed))
        counts[token] += 1
    likeliest = int(expected.argmax())
    p = float(expected[likeliest])
    assert abs(float(counts[likeliest]) / draws - p) < 5 * (p * (1 - p) / draws) ** 0.5


@pytest.mark.parametrize("temperature", [1e-6, 1e-40, 1e-300, 5e-324])
def test_however_low_a_temperature_is_greedy(base, temperature):
    greedy = list(generate(base, {}, PROMPT, Sampling(8, temperature=0.0)))
    cold = list(generate(base, {}, PROMPT, Sampling(8, temperature=temperature, seed=1)))
    assert cold == greedy


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("ran_away", [float("nan"), float("inf")])
def test_an_adapter_that_ran_away_is_told_and_nothing_is_drawn(base, temperature, ran_away):
    layers = Engine(base, 100).join(make_job("j", LoraConfig(), random_sequences(1, 4))).adapter
    for layer in layers.layers.values():
        layer.b.fill_(ran_away)
    with pytest.raises(InvalidRequest, match=r"not finite.*lower learning rate"):
        list(generate(base, layers.layers, PROMPT, Sampling(2, temperature=temperature)))
