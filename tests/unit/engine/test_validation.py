"""Validation loss equals the plain model's, and early stopping follows it."""

from __future__ import annotations

import pytest
from adapter_tensors import fill_weights
from engine_jobs import METHODS, make_job, shake, steps_of

from pando_shared.adapters import LoraConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import parameters_digest
from pando_worker.engine.engine import Engine
from peft_reference import peft_model
from tiny_models import random_sequences


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def per_sequence_loss(model, data):
    """(mean loss over all targets) of a Hugging Face model, sequence by sequence."""
    import torch

    total, count = 0.0, 0
    for index in range(len(data)):
        tokens, targets = data.sequence(index)
        ids = torch.from_numpy(tokens)[None]
        labels = torch.where(torch.from_numpy(targets)[None], ids, -100)
        with torch.no_grad():
            loss = model(input_ids=ids, labels=labels).loss
        total += float(loss) * int(targets.sum())
        count += int(targets.sum())
    return total / count


@pytest.mark.parametrize("token_budget", [1, 70, 4096])
def test_it_is_the_mean_over_all_targets_without_dropout(model_folder, base, token_budget):
    valid = random_sequences(9, 13)
    engine = Engine(base, token_budget)
    config = LoraConfig(rank=4, dropout=0.5)
    resident = engine.join(make_job("j", config, random_sequences(1, 4), valid))
    shake(resident.adapter)
    before = parameters_digest(resident)
    found = engine.validate("j")
    model = peft_model(model_folder("llama"), config, resident.adapter).eval()
    assert found.loss == pytest.approx(per_sequence_loss(model, valid), rel=1e-5)
    assert 0.0 <= found.token_accuracy < 1.0
    assert found.improved
    assert parameters_digest(resident) == before
    assert not resident.adapter.vector.gradient.any()


def test_a_validation_between_microbatches_changes_nothing(base):
    values = []
    for interrupted in (False, True):
        engine = Engine(base, 60)
        data = random_sequences(1, 8)
        engine.join(make_job("j", METHODS["lora-dropout"], data, data, batch_size=8, max_steps=4))
        while engine.step() or not engine.jobs["j"].finished:
            if interrupted:
                engine.validate("j")
        values.append(engine.jobs["j"].adapter.vector.value)
    assert values[0].equal(values[1])


def test_without_validation_data_it_is_refused(base):
    engine = Engine(base, 60)
    engine.join(make_job("j", METHODS["lora"], random_sequences(1, 4)))
    with pytest.raises(InvalidRequest, match="no validation data"):
        engine.validate("j")


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_runs_out(base, patience):
    engine = Engine(base, 4096)
    valid = random_sequences(9, 4)
    job = make_job(
        "j", METHODS["lora"], random_sequences(1, 4), valid, early_stopping_patience=patience
    )
    resident = engine.join(job)
    assert engine.validate("j").improved
    for validation in range(patience):
        assert not resident.finished
        assert not engine.validate("j").improved, validation
    assert resident.stopped_early
    assert resident.finished
    assert engine.step() == []


def test_no_patience_never_stops(base):
    engine = Engine(base, 4096)
    valid = random_sequences(9, 4)
    resident = engine.join(make_job("j", METHODS["lora"], random_sequences(1, 4), valid))
    for _ in range(5):
        engine.validate("j")
    assert not resident.finished


def test_a_gain_restores_patience(base):
    engine = Engine(base, 4096)
    data = random_sequences(1, 4)
    resident = engine.join(
        make_job("j", METHODS["lora"], data, data, early_stopping_patience=2, learning_rate=1e-2)
    )
    engine.validate("j")
    engine.validate("j")
    assert resident.validations_without_gain == 1
    steps_of(engine, ["j"], until=5)
    assert engine.validate("j").improved
    assert resident.validations_without_gain == 0


def test_a_loss_that_is_no_number_is_no_gain(base):
    engine = Engine(base, 4096)
    valid = random_sequences(9, 4)
    resident = engine.join(
        make_job("j", METHODS["lora"], random_sequences(1, 4), valid, early_stopping_patience=9)
    )
    best = engine.validate("j").loss
    kept = resident.adapter.vector.value.clone()
    fill_weights(resident.adapter, float("nan"))
    assert not engine.validate("j").improved
    assert resident.best_valid_loss == best
    resident.adapter.vector.value.copy_(kept)
    resident.best_valid_loss = 1e9
    assert engine.validate("j").improved
