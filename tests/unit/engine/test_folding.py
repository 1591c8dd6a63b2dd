"""A PaCA job that is alone lies in the base for each microbatch, and leaves no trace there."""

from __future__ import annotations

import pytest
import torch
from adapter_tensors import weights_of
from engine_jobs import losses, make_job, steps_of

from pando_shared.adapters import LoraConfig, PacaConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.folding import folded
from pando_worker.engine.lanes import Lanes
from pando_worker.engine.quantized import freeze_weight
from tiny_models import random_sequences

JOB = make_job("j", PacaConfig(rank=5), random_sequences(1, 12), batch_size=3, n_epochs=2)
FAMILIES = ["llama", "phi"]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_what_it_learns_beside_others(model_folder, family):
    base = load_base(model_folder(family))
    found = []
    for folds in (True, False):
        engine = Engine(base, 60, folds=folds)
        engine.join(JOB)
        reports = steps_of(engine, ["j"])["j"]
        found.append((losses(reports), weights_of(engine.jobs["j"].adapter)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)
    assert found[0][1].abs().max() > 1e-3


def test_the_adapters_kernels_are_spared(model_folder, monkeypatch):
    """Inside, the delta is nowhere but in the base: nothing is added to an output or a gradient."""
    from pando_kernels import torch_ops

    def called(*_: object) -> None:
        raise AssertionError("an adapter ran beside the base")

    for name in ("expand", "reduce", "weigh", "unshrink"):
        monkeypatch.setattr(torch_ops, name, called)
    engine = Engine(load_base(model_folder("llama")), 60)
    engine.join(JOB)
    assert steps_of(engine, ["j"], until=3)["j"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_base_is_the_base_after_every_microbatch(model_folder, family, dtype):
    base = load_base(model_folder(family), dtype=dtype)
    before = base.digest()
    engine = Engine(base, 60, folds=True)
    engine.join(JOB)
    for _ in range(6):
        engine.step()
        assert base.digest() == before


def test_the_base_is_restored_when_the_pass_fails(model_folder, monkeypatch):
    base = load_base(model_folder("llama"))
    before = base.digest()
    engine = Engine(base, 60)
    engine.join(JOB)
    steps_of(engine, ["j"], until=2)  # a fresh adapter's delta is zero
    inside = []

    def fail(*_: object, **__: object) -> None:
        inside.append(base.digest())
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Lanes, "run", fail)
    with pytest.raises(torch.OutOfMemoryError):
        engine.step()
    assert inside[0] != before
    assert base.digest() == before


def test_beside_another_job_nothing_is_folded(model_folder, monkeypatch):
    engine = Engine(load_base(model_folder("llama")), 60)
    engine.join(JOB)
    engine.join(make_job("k", LoraConfig(rank=2), random_sequences(2, 5)))
    monkeypatch.setattr("pando_worker.engine.engine.folded", None)
    steps_of(engine, ["j"], until=2)


def test_a_packed_base_cannot_hold_it(model_folder):
    base = load_base(model_folder("llama"), freeze=lambda w: freeze_weight(w, "int8"))
    engine = Engine(base, 60)
    resident = engine.join(JOB)
    with folded(base, resident.adapter) as done:
        assert not done
    assert steps_of(engine, ["j"], until=2)["j"]
