"""A quantised base trains as a dense one with the same, rounded, numbers; its bytes are as told."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from adapter_tensors import weights_of
from engine_jobs import METHODS, losses, make_job, relative, steps_of
from numerics import normal
from torch import nn
from transformers import AutoModelForCausalLM

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.int8_weight import Int8Weight
from pando_kernels.nf4_weight import Nf4Weight
from pando_shared.base_format import BaseFormat, base_bytes, linear_bytes
from pando_shared.catalogue import Linear, read_base_model
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.quantized import freeze_weight
from tiny_models import random_sequences

PACKED = {"nf4": Nf4Weight, "int8": Int8Weight}


@pytest.mark.parametrize("storage", ["dense", "nf4", "int8"])
@pytest.mark.parametrize("shape", [(1, 1), (24, 64), (7, 100), (5, 640)])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_a_frozen_weight_takes_the_bytes_that_the_byte_model_counts(storage, shape, compute):
    dtype = getattr(torch, compute)
    weight = freeze_weight(normal(1, *shape, dtype=dtype), storage)
    assert weight.shape == shape
    assert weight.dtype == dtype
    kept = sum(tensor.numel() * tensor.element_size() for tensor in weight.stored)
    assert kept == linear_bytes(Linear("fc", shape[1], shape[0], 1), BaseFormat(compute, storage))


def test_dense_is_the_weight_itself():
    weight = normal(1, 3, 4)
    frozen = freeze_weight(weight, "dense")
    assert isinstance(frozen, DenseWeight)
    assert frozen.stored[0] is weight


def test_nf4_without_bitsandbytes_is_refused_with_advice(monkeypatch):
    monkeypatch.delitem(sys.modules, "pando_kernels.nf4_weight")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InvalidRequest, match=r"pando-kernels\[quantized\].*PANDO_DTYPE=int8"):
        freeze_weight(normal(1, 3, 4, dtype=torch.float32), "nf4")


def rounded(source: str, folder: Path, storage: str) -> str:
    """A folder of the same model whose blocks' linears have gone through `storage`, each alone."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        for module in model.base_model.modules():
            if isinstance(module, nn.Linear):
                packed = PACKED[storage].quantize(module.weight, torch.float32)
                module.weight.copy_(packed.dense())
    model.save_pretrained(folder)
    return str(folder)


def trained(folder: str, storage: str) -> dict[str, tuple[list[float], torch.Tensor]]:
    """Losses and final weights of a job of each method, trained together on an untouched base."""
    freeze = partial(freeze_weight, storage=storage)
    base = load_base(folder, "cpu", torch.float32, freeze)
    before = base.digest()
    engine = Engine(base, 300)
    for seed, (name, adapter) in enumerate(METHODS.items()):
        data = random_sequences(seed, 9)
        engine.join(make_job(name, adapter, data, batch_size=4, max_steps=5, seed=seed))
    reports = steps_of(engine, METHODS)
    assert base.digest() == before
    return {
        name: (losses(reports[name]), weights_of(engine.jobs[name].adapter)) for name in METHODS
    }


@pytest.mark.parametrize("storage", PACKED)
@pytest.mark.parametrize("family", ["llama", "phi"])
def test_training_equals_that_on_the_rounded_weights(model_folder, tmp_path, family, storage):
    source = model_folder(family)
    expected = trained(rounded(source, tmp_path, storage), "dense")
    for name, (ours, weights) in trained(source, storage).items():
        assert ours == pytest.approx(expected[name][0], rel=1e-5)
        assert relative(weights, expected[name][1]) <= 1e-4


@pytest.mark.parametrize("storage", ["dense", "nf4", "int8"])
def test_a_loaded_base_holds_the_bytes_that_the_byte_model_counts(model_folder, storage):
    folder = model_folder("llama")
    base = load_base(folder, "cpu", torch.float32, partial(freeze_weight, storage=storage))
    weights = [*base.model.parameters(), *(t for g in base.groups for t in g.weight.stored)]
    kept = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in weights}
    predicted = base_bytes(read_base_model("llama", Path(folder)), BaseFormat("float32", storage))
    assert sum(kept.values()) == predicted
