"""PaCA jobs equal stock peft LoRAs whose A are frozen one-hot rows, alone and in company."""

from __future__ import annotations

import pytest
from engine_jobs import losses, make_job, neighbours, relative, steps_of

import peft_reference
from pando_shared.adapters import PacaConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences

STEPS = 50
SUBJECTS = {
    "random": PacaConfig(rank=6),
    "weight-norm": PacaConfig(rank=3, selection="weight-norm", alpha=6),
    "some-modules": PacaConfig(rank=32, target_modules=("down_proj", "layers.1.self_attn.q_proj")),
}


def assert_equals_one_hot_lora(folder, resident, model, reports):
    job = resident.job
    assert losses(reports) == pytest.approx(
        peft_reference.train(model, job.train, job.plan, STEPS), rel=1e-5
    )
    theirs = dict(model.named_parameters())
    for name, ours in resident.adapter.vector.parameters.items():
        module = name.removesuffix(".paca_P")
        reference = theirs[f"base_model.model.{module}.lora_B.default.weight"].detach()
        assert relative(ours, reference) <= 1e-4, name


@pytest.mark.parametrize("company", [False, True], ids=["alone", "in-company"])
def test_paca_equals_a_lora_of_frozen_one_hot_rows(model_folder, company):
    folder = model_folder("llama")
    base = load_base(folder)
    subjects = dict(SUBJECTS) if company else {"random": SUBJECTS["random"]}
    engine = Engine(base, 200)
    models = {}
    for i, (name, adapter) in enumerate(subjects.items()):
        job = make_job(
            name, adapter, random_sequences(i, 11), batch_size=2 + i, max_steps=STEPS, seed=i
        )
        resident = engine.join(job)
        models[name] = peft_reference.one_hot_model(folder, adapter, resident.adapter)
    for neighbour in neighbours() if company else ():
        engine.join(neighbour)
    reports = steps_of(engine, subjects)
    for name in subjects:
        assert_equals_one_hot_lora(folder, engine.jobs[name], models[name], reports[name])
