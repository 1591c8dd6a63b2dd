"""Interrupted anywhere and resumed equals never interrupted."""

from __future__ import annotations

import json

import pytest
import torch
from adapter_tensors import weights_of
from engine_jobs import METHODS, losses, make_job, neighbours, relative, steps_of
from safetensors import SafetensorError

from pando_shared.adapters import LoraConfig
from pando_shared.errors import TrainingFailed
from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import (
    parameters_digest,
    read_manifest,
    restore_checkpoint,
    save_checkpoint,
    snapshot,
    training_state,
)
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences

STEPS = 12


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def subject(method, **training):
    training = {"batch_size": 4, "max_steps": STEPS, "lr_scheduler": "cosine", **training}
    return make_job(
        "j", METHODS[method], random_sequences(5, 11), random_sequences(6, 3), **training
    )


@pytest.mark.parametrize("stop_at", [1, 5, 11])
@pytest.mark.parametrize("method", METHODS)
def test_resuming_alone_is_exact_to_the_bit(base, tmp_path, method, stop_at):
    job = subject(method)
    straight = Engine(base, 60)
    straight.join(job)
    expected = steps_of(straight, ["j"])["j"]

    interrupted = Engine(base, 60)
    interrupted.join(job)
    steps_of(interrupted, ["j"], until=stop_at)
    interrupted.step()  # most often into the middle of a step, which must leave no trace
    stop_at = interrupted.jobs["j"].step
    save_checkpoint(training_state(interrupted.jobs["j"]), tmp_path / "c")

    resumed = Engine(base, 60)
    restore_checkpoint(resumed.join(job), tmp_path / "c")
    assert resumed.jobs["j"].step == stop_at
    assert losses(steps_of(resumed, ["j"])["j"]) == losses(expected)[stop_at:]
    assert parameters_digest(resumed.jobs["j"]) == parameters_digest(straight.jobs["j"])
    assert resumed.jobs["j"].trained_tokens == straight.jobs["j"].trained_tokens


def with_earlier(folder, life):
    """The checkpoint of a life, and those of the lives before that it builds on."""
    needed = [folder / str(life)]
    while (since := read_manifest(needed[-1]).since) is not None:
        needed.append(folder / since)
    return needed


@pytest.mark.parametrize("method", METHODS)
def test_resuming_again_and_again_beside_changing_neighbours(base, tmp_path, method):
    job = subject(method)
    straight = Engine(base, 4096)
    straight.join(job)
    expected = losses(steps_of(straight, ["j"])["j"])
    found, company = [], neighbours()
    for life, stop_at in enumerate((2, 3, 7, STEPS)):
        engine = Engine(base, 70 + 30 * life)
        engine.join(company[life])
        resident = engine.join(job)
        engine.join(company[(life + 1) % 4])
        if life:
            restore_checkpoint(resident, *with_earlier(tmp_path, life - 1))
        found += steps_of(engine, ["j"], until=stop_at)["j"]
        save_checkpoint(training_state(resident), tmp_path / str(life))
    assert losses(found) == pytest.approx(expected, rel=1e-5)
    expected_weights = weights_of(straight.jobs["j"].adapter)
    assert relative(weights_of(resident.adapter), expected_weights) <= 1e-5


def test_patience_survives(base, tmp_path):
    job = subject("paca", early_stopping_patience=2)
    engine = Engine(base, 4096)
    resident = engine.join(job)
    best = engine.validate("j").loss
    engine.validate("j")
    save_checkpoint(training_state(resident), tmp_path / "c")
    again = Engine(base, 4096)
    restored = again.join(job)
    restore_checkpoint(restored, tmp_path / "c")
    assert restored.best_valid_loss == best
    assert restored.validations_without_gain == 1
    again.validate("j")
    assert restored.stopped_early


DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_a_snapshot_stays_as_it_was_while_the_job_trains_on(model_folder, tmp_path, method, device):
    base = load_base(model_folder("llama"), device)
    engine = Engine(base, 60)
    resident = engine.join(subject(method))
    steps_of(engine, ["j"], until=5)
    engine.step()  # most often into the middle of a step
    step, digest = resident.step, parameters_digest(resident)
    taken = snapshot(resident)
    trained = resident.trained_tokens
    steps_of(engine, ["j"], until=9)
    assert parameters_digest(resident) != digest
    save_checkpoint(taken, tmp_path / "c")

    restored = Engine(base, 60).join(subject(method))
    restore_checkpoint(restored, tmp_path / "c")
    assert parameters_digest(restored) == digest
    assert (restored.step, restored.trained_tokens) == (step, trained)
    assert resident.adapter.columns.keys() == restored.adapter.columns.keys()


def test_a_disk_that_takes_nothing_is_an_os_error(base, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr("pando_worker.engine.checkpoint.save_file", refuse)
    resident = Engine(base, 60).join(subject("lora"))
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(snapshot(resident), tmp_path / "c")


def test_a_finished_job_stays_finished(base, tmp_path):
    engine = Engine(base, 4096)
    resident = engine.join(subject("lora", max_steps=2))
    steps_of(engine, ["j"])
    save_checkpoint(training_state(resident), tmp_path / "c")
    again = Engine(base, 4096)
    restore_checkpoint(again.join(subject("lora", max_steps=2)), tmp_path / "c")
    assert again.jobs["j"].finished
    assert again.step() == []


def test_columns_are_kept_even_if_they_would_be_drawn_otherwise(base, tmp_path):
    job = subject("paca")
    engine = Engine(base, 4096)
    resident = engine.join(job)
    steps_of(engine, ["j"], until=2)
    save_checkpoint(training_state(resident), tmp_path / "c")
    again = Engine(base, 4096)
    restored = again.join(job)
    for columns in restored.adapter.columns.values():
        columns.copy_(torch.arange(len(columns)))
    restore_checkpoint(restored, tmp_path / "c")
    for name, columns in resident.adapter.columns.items():
        assert torch.equal(restored.adapter.columns[name], columns)
        assert torch.equal(restored.adapter.layers[name].columns, columns)


class TestDamage:
    @pytest.fixture
    def folder(self, base, tmp_path):
        engine = Engine(base, 4096)
        resident = engine.join(subject("lora"))
        steps_of(engine, ["j"], until=1)
        save_checkpoint(training_state(resident), tmp_path / "c")
        return tmp_path / "c"

    def assert_refused(self, base, folder, code="checkpoint_damaged"):
        resident = Engine(base, 4096).join(subject("lora"))
        fresh = parameters_digest(resident)
        with pytest.raises(TrainingFailed) as caught:
            restore_checkpoint(resident, folder)
        assert caught.value.code == code
        assert parameters_digest(resident) == fresh
        assert resident.step == 0

    def test_whole_it_is_read(self, folder):
        assert read_manifest(folder).step == 1

    @pytest.mark.parametrize("kept", [0, 100, -1])
    def test_truncated_tensors(self, base, folder, kept):
        state = folder / "state.safetensors"
        state.write_bytes(state.read_bytes()[:kept])
        self.assert_refused(base, folder)

    def test_one_bit_flipped(self, base, folder):
        state = folder / "state.safetensors"
        content = bytearray(state.read_bytes())
        content[-5] ^= 1
        state.write_bytes(content)
        self.assert_refused(base, folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"step": 1}'])
    def test_manifest_that_is_none(self, base, folder, text):
        (folder / "manifest.json").write_text(text)
        self.assert_refused(base, folder)

    def test_manifest_without_a_step(self, base, folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["step"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        self.assert_refused(base, folder)

    @pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
    def test_missing_file(self, base, folder, name):
        (folder / name).unlink()
        self.assert_refused(base, folder)

    def test_missing_folder(self, base, tmp_path):
        self.assert_refused(base, tmp_path / "nowhere")

    @pytest.mark.parametrize("other", [LoraConfig(rank=5), METHODS["paca"], METHODS["meft"]])
    def test_another_adapters_checkpoint(self, base, folder, other):
        resident = Engine(base, 4096).join(make_job("j", other, random_sequences(5, 11)))
        fresh = parameters_digest(resident)
        with pytest.raises(TrainingFailed) as caught:
            restore_checkpoint(resident, folder)
        assert caught.value.code == "checkpoint_mismatch"
        assert parameters_digest(resident) == fresh
