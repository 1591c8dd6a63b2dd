"""What a job learns does not depend on who else is there, or on how its batch is cut up."""

from __future__ import annotations

import pytest
from adapter_tensors import weights_of
from engine_jobs import METHODS, losses, make_job, neighbours, relative, steps_of

from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences

STEPS = 8


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


@pytest.fixture(scope="module")
def alone(base):
    """`alone(method)`: losses and final weights of a job that trained by itself."""
    made = {}

    def train(method):
        if method not in made:
            engine = Engine(base, 4096)
            engine.join(subject(method))
            reports = steps_of(engine, ["subject"])["subject"]
            made[method] = losses(reports), weights_of(engine.jobs["subject"].adapter)
        return made[method]

    return train


def subject(method):
    data = random_sequences(5, 11)
    return make_job("subject", METHODS[method], data, batch_size=4, max_steps=STEPS, seed=7)


def assert_same(engine, reports, expected):
    assert losses(reports) == pytest.approx(expected[0], rel=1e-5)
    assert relative(weights_of(engine.jobs["subject"].adapter), expected[1]) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("token_budget", [1, 80, 300])
def test_neither_neighbours_nor_the_budget_matter(base, alone, method, token_budget):
    engine = Engine(base, token_budget)
    company = neighbours()
    for job in company[: 4 if token_budget > 1 else 0]:
        engine.join(job)
    engine.join(subject(method))
    assert_same(engine, steps_of(engine, ["subject"])["subject"], alone(method))


@pytest.mark.parametrize("method", METHODS)
def test_neighbours_may_come_and_go(base, alone, method):
    engine = Engine(base, 64)
    company = neighbours()
    engine.join(company[0])
    engine.join(subject(method))
    reports = []
    for microbatch in range(1000):
        if engine.jobs["subject"].finished:
            break
        if microbatch % 5 == 3:
            other = company[microbatch % len(company)]
            if other.id in engine.jobs:
                engine.leave(other.id)
            else:
                engine.join(other)
        reports += [report for report in engine.step() if report.job_id == "subject"]
    assert_same(engine, reports, alone(method))


def test_jobs_that_are_done_take_no_more_room(base):
    engine = Engine(base, 4096)
    engine.join(make_job("short", METHODS["lora"], random_sequences(1, 4), max_steps=2))
    engine.join(subject("paca"))
    reports = steps_of(engine, ["short", "subject"])
    assert len(reports["short"]) == 2
    assert engine.jobs["short"].step == 2
    assert engine.step() == []


def test_the_base_is_never_written(base):
    before = base.digest()
    engine = Engine(base, 64)
    for job in neighbours():
        engine.join(job)
    for _ in range(20):
        engine.step()
    assert base.digest() == before


def test_all_methods_share_steps_fairly(base):
    engine = Engine(base, 200)
    for name, adapter in METHODS.items():
        engine.join(make_job(name, adapter, random_sequences(3, 16), batch_size=4))
    for _ in range(60):
        engine.step()
    served = [job.served_tokens for job in engine.jobs.values()]
    assert max(served) - min(served) <= 200
