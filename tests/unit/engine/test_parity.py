"""LoRA jobs trained in a batch equal stock peft + AdamW, step by step, alone and in company."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from engine_jobs import losses, make_job, neighbours, relative, steps_of

import peft_reference
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.data import ListSequences
from pando_worker.engine.engine import Engine
from pando_worker.tokenizer import load_tokenizer
from tiny_models import CONFIGS, random_sequences

STEPS = 50
TEST_DATA = Path(os.environ.get("PANDO_TEST_DATA", "../shared/data"))
SUBJECTS = {
    "rank8": (LoraConfig(rank=8), {"batch_size": 4, "seed": 1}),
    "rslora": (LoraConfig(rank=5, use_rslora=True, alpha=4), {"batch_size": 3, "seed": 2}),
    "some-modules": (
        LoraConfig(rank=3, target_modules=("q_proj", "v_proj")),
        {"batch_size": 7, "weight_decay": 0.1, "lr_scheduler": "cosine", "warmup_ratio": 0.1},
    ),
    "no-clip": (LoraConfig(rank=16, alpha=16), {"batch_size": 2, "max_grad_norm": 0.0}),
}


def assert_equals_peft(resident, reports, model, steps):
    job = resident.job
    expected = peft_reference.train(model, job.train, job.plan, steps)
    assert losses(reports) == pytest.approx(expected, rel=1e-5)
    theirs = dict(model.named_parameters())
    for name, ours in resident.adapter.vector.parameters.items():
        module, _, which = name.rpartition(".")
        reference = theirs[f"base_model.model.{module}.{which}.default.weight"].detach()
        assert relative(ours, reference) <= 1e-4, name


@pytest.mark.parametrize(
    ("token_budget", "lanes"),
    [(96, 1), (4096, 1), (300, 3)],
    ids=["accumulated", "one-microbatch", "side-by-side"],
)
def test_four_loras_beside_four_others_equal_peft(model_folder, token_budget, lanes):
    folder = model_folder("llama")
    base = load_base(folder)
    before = base.digest()
    engine = Engine(base, token_budget, lanes)
    models = {}
    for i, (name, (adapter, training)) in enumerate(SUBJECTS.items()):
        job = make_job(name, adapter, random_sequences(i, 11), max_steps=STEPS, **training)
        resident = engine.join(job)
        models[name] = peft_reference.peft_model(folder, adapter, resident.adapter)
    for neighbour in neighbours():
        engine.join(neighbour)
    reports = steps_of(engine, SUBJECTS)
    assert base.digest() == before
    for name in SUBJECTS:
        assert_equals_peft(engine.jobs[name], reports[name], models[name], STEPS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_lora_alone_equals_peft(model_folder, name):
    folder = model_folder("llama")
    adapter, training = SUBJECTS[name]
    engine = Engine(load_base(folder), 4096)
    job = make_job(name, adapter, random_sequences(5, 11), max_steps=STEPS, **training)
    resident = engine.join(job)
    model = peft_reference.peft_model(folder, adapter, resident.adapter)
    assert_equals_peft(resident, steps_of(engine, [name])[name], model, STEPS)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_equals_peft(model_folder, family):
    folder = model_folder(family)
    engine = Engine(load_base(folder), 100)
    adapter = LoraConfig(rank=4)
    resident = engine.join(
        make_job("j", adapter, random_sequences(6, 8), batch_size=4, max_steps=10)
    )
    model = peft_reference.peft_model(folder, adapter, resident.adapter)
    engine.join(make_job("n", MeftConfig(num_keys=32, top_k=4), random_sequences(7, 8)))
    assert_equals_peft(resident, steps_of(engine, ["j"])["j"], model, 10)


def gsm8k(folder: Path, count: int) -> ListSequences:
    """The first problems of GSM8K's test set, at most 256 tokens; the answer is the target."""
    tokenizer = load_tokenizer(folder)
    lines = (TEST_DATA / "instructions" / "gsm8k_test.jsonl").read_text().splitlines()[:count]
    items = []
    for row in map(json.loads, lines):
        prompt = tokenizer.encode(row["question"])
        tokens = (prompt + tokenizer.encode(row["answer"], add_special_tokens=False))[:256]
        targets = np.arange(len(tokens)) >= min(len(prompt), len(tokens) - 1)
        items.append((np.array(tokens), targets))
    return ListSequences(tuple(items))


@pytest.mark.parametrize("token_budget", [700, 4096])
def test_a_trained_model_on_real_text_equals_peft(token_budget):
    folder = TEST_DATA / "models" / "stories260k"
    if not folder.exists():
        pytest.skip(f"no test data at {TEST_DATA}: set PANDO_TEST_DATA")
    engine = Engine(load_base(str(folder)), token_budget)
    adapter = LoraConfig(rank=8)
    resident = engine.join(make_job("j", adapter, gsm8k(folder, 12), batch_size=4, max_steps=6))
    model = peft_reference.peft_model(str(folder), adapter, resident.adapter)
    engine.join(make_job("n", PacaConfig(rank=4), random_sequences(7, 8)))
    assert_equals_peft(resident, steps_of(engine, ["j"])["j"], model, 6)
