"""LoRA jobs trained in a batch equal stock peft + AdamW, step by step, alone and in company."""

from __future__ import annotations

import pytest
import torch

import peft_reference
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.training import TrainingConfig, resolve
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine, StepReport
from pando_worker.engine.job import TrainingJob
from tiny_models import CONFIGS, random_sequences

STEPS = 50


def job(name, adapter, data, **training):
    training = {"n_epochs": 100, "learning_rate": 2e-3, **training}
    return TrainingJob(name, adapter, resolve(TrainingConfig(**training), adapter, len(data)), data)


SUBJECTS = {
    "rank8": (LoraConfig(rank=8), {"batch_size": 4, "seed": 1}),
    "rslora": (LoraConfig(rank=5, use_rslora=True, alpha=4), {"batch_size": 3, "seed": 2}),
    "some-modules": (
        LoraConfig(rank=3, target_modules=("q_proj", "v_proj")),
        {"batch_size": 7, "weight_decay": 0.1, "lr_scheduler": "cosine", "warmup_ratio": 0.1},
    ),
    "no-clip": (LoraConfig(rank=16, alpha=16), {"batch_size": 2, "max_grad_norm": 0.0}),
}


def neighbours():
    kinds = [
        (PacaConfig(rank=4), 2),
        (MeftConfig(num_keys=64, top_k=8, num_experts=8, num_probes=3), 3),
        (LoraConfig(rank=16, dropout=0.2), 8),
        (PacaConfig(rank=12, selection="weight-norm"), 1),
    ]
    return [
        job(f"n{i}", kind, random_sequences(100 + i, 9), batch_size=batch, seed=i)
        for i, (kind, batch) in enumerate(kinds)
    ]


def run(engine: Engine, names: set[str], steps: int) -> dict[str, list[float]]:
    losses: dict[str, list[float]] = {name: [] for name in names}
    while any(len(found) < steps for found in losses.values()):
        for report in engine.step():
            assert isinstance(report, StepReport), report
            if report.job_id in losses and len(losses[report.job_id]) < steps:
                losses[report.job_id].append(report.loss)
                if len(losses[report.job_id]) == steps:
                    engine.jobs[report.job_id].step = 10**9  # finished: its weights stay put
    return losses


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))


def assert_equals_peft(folder, resident, losses, initial_model, data, steps):
    expected = peft_reference.train(initial_model, data, resident.job.plan, steps)
    assert losses == pytest.approx(expected, rel=1e-5)
    theirs = dict(initial_model.named_parameters())
    for name, ours in resident.adapter.vector.parameters.items():
        module, _, which = name.rpartition(".")
        reference = theirs[f"base_model.model.{module}.{which}.default.weight"].detach()
        assert relative(ours, reference) <= 1e-4, name


@pytest.mark.parametrize("token_budget", [48, 4096], ids=["accumulated", "one-microbatch"])
def test_four_loras_beside_four_others_equal_peft(model_folder, token_budget):
    folder = model_folder("llama")
    base = load_base(folder)
    before = base.digest()
    engine = Engine(base, token_budget)
    data = {name: random_sequences(i, 11) for i, name in enumerate(SUBJECTS)}
    models = {}
    for name, (adapter, training) in SUBJECTS.items():
        resident = engine.join(job(name, adapter, data[name], **training))
        models[name] = peft_reference.peft_model(folder, adapter, resident.adapter)
    for neighbour in neighbours():
        engine.join(neighbour)
    residents = dict(engine.jobs)
    losses = run(engine, set(SUBJECTS), STEPS)
    assert base.digest() == before
    for name in SUBJECTS:
        assert_equals_peft(folder, residents[name], losses[name], models[name], data[name], STEPS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_lora_alone_equals_peft(model_folder, name):
    folder = model_folder("llama")
    adapter, training = SUBJECTS[name]
    data = random_sequences(5, 11)
    engine = Engine(load_base(folder), 4096)
    resident = engine.join(job(name, adapter, data, **training))
    model = peft_reference.peft_model(folder, adapter, resident.adapter)
    losses = run(engine, {name}, STEPS)[name]
    assert_equals_peft(folder, resident, losses, model, data, STEPS)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_equals_peft(model_folder, family):
    folder = model_folder(family)
    data = random_sequences(6, 8)
    engine = Engine(load_base(folder), 100)
    adapter = LoraConfig(rank=4)
    resident = engine.join(job("j", adapter, data, batch_size=4))
    model = peft_reference.peft_model(folder, adapter, resident.adapter)
    engine.join(job("neighbour", MeftConfig(num_keys=32, top_k=4), random_sequences(7, 8)))
    losses = run(engine, {"j"}, 10)["j"]
    assert_equals_peft(folder, resident, losses, model, data, 10)
