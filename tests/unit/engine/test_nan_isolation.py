"""A job whose numbers go wrong fails by itself: its neighbours and the base never notice."""

from __future__ import annotations

import pytest
import torch
from adapter_tensors import fill_weights, weights_of
from engine_jobs import METHODS, make_job, neighbours

from pando_shared.adapters import LoraConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine, JobFailed
from tiny_models import random_sequences


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def train(base, victim, spoil, microbatches=30):
    """Neighbours beside a victim that `spoil` spoils half-way; returns (failures, weights)."""
    engine = Engine(base, 150)
    for job in neighbours():
        engine.join(job)
    engine.join(victim)
    failed = []
    for microbatch in range(microbatches):
        if microbatch == microbatches // 2 and "victim" in engine.jobs:
            spoil(engine.jobs["victim"])
        failed += [report for report in engine.step() if isinstance(report, JobFailed)]
    weights = {name: weights_of(job.adapter) for name, job in engine.jobs.items()}
    return failed, weights


def one_number(resident):
    next(iter(resident.adapter.parameters.values())).view(-1)[0] = float("nan")


def every_number(resident):
    fill_weights(resident.adapter, float("nan"))


def infinity(resident):
    fill_weights(resident.adapter, float("inf"))


def huge(resident):
    fill_weights(resident.adapter, 1e30)


@pytest.mark.parametrize("spoil", [one_number, every_number, infinity, huge])
@pytest.mark.parametrize("method", METHODS)
def test_broken_weights_fail_their_job_alone(base, method, spoil):
    before = base.digest()
    victim = make_job("victim", METHODS[method], random_sequences(9, 8), batch_size=4)
    failed, weights = train(base, victim, spoil)
    assert [report.job_id for report in failed] == ["victim"]
    assert failed[0].code in ("non_finite_loss", "non_finite_gradient")
    assert "learning rate" in failed[0].message
    assert sorted(weights) == ["n0", "n1", "n2", "n3"]
    assert all(value.isfinite().all() for value in weights.values())
    assert base.digest() == before


@pytest.mark.parametrize("method", METHODS)
def test_neighbours_do_not_notice_to_the_bit(base, method):
    """With a budget that seats everyone, rows stand where they stood, broken or not."""
    results = []
    for spoil in (lambda resident: None, every_number):
        engine = Engine(base, 4096)
        for job in (*neighbours(), make_job("victim", METHODS[method], random_sequences(9, 8))):
            engine.join(job)
        engine.step()
        spoil(engine.jobs["victim"])
        failed = [report.job_id for report in engine.step() if isinstance(report, JobFailed)]
        results.append((failed, {n: weights_of(j.adapter) for n, j in engine.jobs.items()}))
    (unspoilt, clean), (spoilt, beside) = results
    assert unspoilt == []
    assert spoilt == ["victim"]
    for name, value in beside.items():
        assert torch.equal(clean[name], value)


def test_a_rate_that_explodes_fails_its_job_alone(base):
    victim = make_job(
        "victim",
        LoraConfig(rank=4),
        random_sequences(9, 8),
        batch_size=4,
        learning_rate=1e18,
        max_grad_norm=0.0,
    )
    failed, weights = train(base, victim, lambda resident: None)
    assert [report.job_id for report in failed] == ["victim"]
    assert all(value.isfinite().all() for value in weights.values())


def test_weights_stay_as_they_were_before_the_bad_step(base):
    engine = Engine(base, 4096)
    resident = engine.join(make_job("j", METHODS["lora"], random_sequences(9, 8), batch_size=4))
    engine.step()
    kept = resident.adapter.vector.value.clone()
    resident.adapter.vector.gradient.fill_(float("nan"))
    (failed,) = engine.step()
    assert isinstance(failed, JobFailed)
    assert failed.code == "non_finite_gradient"
    assert torch.equal(resident.adapter.vector.value, kept)
    assert "j" not in engine.jobs
