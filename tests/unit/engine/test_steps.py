"""An optimizer step is its whole batch, once, at the scheduled rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from engine_jobs import METHODS, make_job, steps_of
from torch.nn import functional

from pando_shared.adapters import LoraConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import load_base
from pando_worker.engine.data import batch_at
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def plain_sums(base, data, indices):
    """(loss, hits, targets) of these sequences, one by one through the model itself."""
    loss, hits, count = 0.0, 0, 0
    for index in indices:
        tokens, targets = data.sequence(int(index))
        ids = torch.from_numpy(tokens)
        with torch.no_grad():
            logits = base.model(input_ids=ids[None]).logits[0]
        at = np.flatnonzero(targets)
        loss += float(functional.cross_entropy(logits[at - 1], ids[at], reduction="sum"))
        hits += int((logits[at - 1].argmax(1) == ids[at]).sum())
        count += len(at)
    return loss, hits, count


def test_a_report_says_what_the_batch_was(base):
    data = random_sequences(1, 10)
    engine = Engine(base, 60)
    # A rate so small that the adapter stays where it began: adding nothing.
    job = make_job("j", METHODS["lora"], data, batch_size=4, learning_rate=1e-30, n_epochs=2)
    engine.join(job)
    reports = steps_of(engine, ["j"])["j"]
    assert len(reports) == 6
    for step, report in enumerate(reports):
        indices = batch_at(step, 10, 4, job.plan.config.seed)
        loss, hits, targets = plain_sums(base, data, indices)
        assert report.step == step + 1
        assert report.total_steps == 6
        assert report.epoch == pytest.approx((step + 1) / 3)
        assert report.loss == pytest.approx(loss / targets, rel=1e-5)
        assert report.token_accuracy == pytest.approx(hits / targets)
        assert report.tokens == sum(len(data.sequence(int(i))[0]) for i in indices)
        assert report.gradient_norm > 0
    assert engine.jobs["j"].trained_tokens == sum(report.tokens for report in reports)


def test_an_epoch_is_every_sequence_once():
    for examples, batch in ((10, 4), (8, 8), (1, 1), (7, 1)):
        steps = math.ceil(examples / batch)
        for epoch in range(3):
            drawn = [batch_at(epoch * steps + s, examples, batch, 5) for s in range(steps)]
            assert sorted(np.concatenate(drawn)) == list(range(examples))
    assert list(batch_at(0, 50, 50, 1)) != list(batch_at(1, 50, 50, 1))
    assert list(batch_at(0, 50, 50, 1)) != list(batch_at(0, 50, 50, 2))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_follows_warm_up_and_schedule(base, schedule):
    total, warm, peak = 12, 3, 2e-3
    engine = Engine(base, 4096)
    engine.join(
        make_job(
            "j",
            METHODS["paca"],
            random_sequences(1, 4),
            lr_scheduler=schedule,
            warmup_ratio=0.25,
            max_steps=total,
        )
    )
    rates = [report.learning_rate for report in steps_of(engine, ["j"])["j"]]
    expected = [peak / 3, peak * 2 / 3, peak]
    for step in range(warm, total):
        done = (step - warm) / (total - warm)
        shape = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        expected.append(peak * shape[schedule])
    assert rates == pytest.approx(expected)


def test_clipping_reports_the_norm_before(base):
    norms = {}
    for limit in (0.0, 1e-3):
        engine = Engine(base, 4096)
        engine.join(
            make_job("j", METHODS["lora"], random_sequences(1, 4), max_steps=1, max_grad_norm=limit)
        )
        norms[limit] = steps_of(engine, ["j"])["j"][0].gradient_norm
    assert norms[0.0] == norms[1e-3] > 1e-3


def test_a_batch_without_targets_costs_nothing_and_breaks_nothing(base):
    tokens = np.arange(6)
    data = type(random_sequences(1, 1))(((tokens, np.zeros(6, bool)),))
    engine = Engine(base, 4096)
    engine.join(make_job("empty", METHODS["lora"], data, max_steps=2))
    engine.join(make_job("j", METHODS["paca"], random_sequences(1, 4), max_steps=2))
    reports = steps_of(engine, ["empty", "j"])
    assert [report.loss for report in reports["empty"]] == [0.0, 0.0]
    assert all(report.loss > 0 for report in reports["j"])


def test_a_batch_larger_than_the_budget_takes_one_step(base):
    engine = Engine(base, 40)
    engine.join(make_job("j", METHODS["lora"], random_sequences(1, 12), batch_size=12, max_steps=1))
    microbatches = 0
    reports = []
    while not reports:
        reports = engine.step()
        microbatches += 1
    assert microbatches > 3
    assert engine.jobs["j"].step == 1


def test_a_job_joins_once(base):
    engine = Engine(base, 40)
    job = make_job("j", LoraConfig(rank=2), random_sequences(1, 2))
    engine.join(job)
    with pytest.raises(InvalidRequest, match="resident already"):
        engine.join(job)


def test_a_job_that_left_may_join_again_afresh(base):
    engine = Engine(base, 40)
    job = make_job("j", LoraConfig(rank=2), random_sequences(1, 6), batch_size=6)
    first = engine.join(job).adapter.vector.value.clone()
    engine.step()
    left = engine.leave("j")
    assert left.batch is None
    assert not left.adapter.vector.gradient.any()
    assert torch.equal(engine.join(job).adapter.vector.value, first)
