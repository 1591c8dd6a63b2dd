"""MEFT jobs equal a dense masked formula in a stock model, trained by row-wise AdamW in fp64."""

from __future__ import annotations

import pytest
from engine_jobs import losses, make_job, neighbours, relative, steps_of
from lazy_adamw_reference import LazyAdamW
from meft_reference import meft_model

import peft_reference
from pando_shared.adapters import MeftConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences

STEPS = 20
SUBJECTS = {
    "few": MeftConfig(num_keys=64, top_k=4, num_experts=8, num_probes=3),
    "all": MeftConfig(num_keys=20, top_k=20, num_experts=4, num_probes=9),
    "one-layer": MeftConfig(num_keys=64, top_k=4, num_experts=8, num_probes=3, layers=(1,)),
    "default-experts": MeftConfig(num_keys=128, top_k=16),
}


def assert_equals_dense(resident, model, reports):
    job = resident.job
    expected = peft_reference.train(model, job.train, job.plan, STEPS, LazyAdamW)
    assert losses(reports) == pytest.approx(expected, rel=1e-5)
    theirs = dict(model.named_parameters())
    for name, ours in resident.adapter.parameters.items():
        assert relative(ours, theirs[name].detach()) <= 1e-4, name


@pytest.mark.parametrize("company", [False, True], ids=["alone", "in-company"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_meft_equals_the_dense_masked_formula(model_folder, name, company):
    folder = model_folder("llama")
    engine = Engine(load_base(folder), 150)
    training = {"batch_size": 3, "max_steps": STEPS, "seed": 3, "weight_decay": 0.01}
    job = make_job(name, SUBJECTS[name], random_sequences(5, 10), **training)
    resident = engine.join(job)
    model = meft_model(folder, resident.adapter)
    for neighbour in neighbours() if company else ():
        engine.join(neighbour)
    assert_equals_dense(resident, model, steps_of(engine, [name])[name])


@pytest.mark.parametrize("family", ["gemma", "phi", "qwen3"])
def test_other_families(model_folder, family):
    folder = model_folder(family)
    engine = Engine(load_base(folder), 150)
    job = make_job("m", SUBJECTS["few"], random_sequences(5, 10), batch_size=3, max_steps=STEPS)
    resident = engine.join(job)
    model = meft_model(folder, resident.adapter)
    assert_equals_dense(resident, model, steps_of(engine, ["m"])["m"])
