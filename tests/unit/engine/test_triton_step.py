"""The whole step through the Triton kernels: compiled on a GPU, in the interpreter elsewhere."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import cast

import pytest
import torch
from adapter_tensors import weights_of
from engine_jobs import METHODS, make_job, steps_of
from microbatches import distance, flat, make_jobs, train
from triton_interpreter import device, mend_bf16

from pando_kernels import triton_ops
from pando_kernels.backend import always_triton
from pando_kernels.meft import expert_ops, triton_expert_ops
from pando_kernels.meft.expert_ops import ExpertOps
from pando_kernels.meft.staging import Staging
from pando_kernels.segment_ops import SegmentOps, using
from pando_kernels.triton import expand, unshrink
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.recompute import Recompute
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.rows_home import RowsHome
from tiny_models import random_sequences

mend_bf16()

CONFIGS = [
    LoraConfig(rank=3),
    LoraConfig(rank=20, dropout=0.3, target_modules=("q_proj", "v_proj", "down_proj")),
    PacaConfig(rank=5),
    METHODS["meft"],
]


@contextmanager
def on_triton():
    with ExitStack() as stack:
        stack.enter_context(using(cast(SegmentOps, triton_ops)))
        stack.enter_context(expert_ops.using(cast(ExpertOps, triton_expert_ops)))
        stack.enter_context(always_triton())
        yield


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
def test_gradients_are_those_of_the_reference(model_folder, family):
    base = load_base(model_folder(family), str(device()))
    jobs = make_jobs(base, CONFIGS, sequences=2, longest=30)
    expected_results, expected = train(base, jobs)
    with on_triton():
        results, found = train(base, jobs)
    for ours, theirs in zip(results, expected_results, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert (ours.hits, ours.targets) == (theirs.hits, theirs.targets)
    for mine, reference in zip(found, expected, strict=True):
        assert distance(flat(mine), flat(reference)) < 1e-5


def test_the_networks_sums_are_made_within_its_activations(model_folder, monkeypatch):
    """Neither gate and up's outputs nor the gradient of down's input get a pass of their own."""
    base = load_base(model_folder("llama"), str(device()))
    jobs = make_jobs(base, CONFIGS[:3], sequences=1, longest=10)
    launched: list[tuple[str, str]] = []
    sites = {group.site: group.names[0].rsplit(".", 1)[1] for group in base.groups}

    def watch(module, name):
        kernel = getattr(module, name)

        def watched(*tensors):
            launched.append((name, sites[tensors[2].site]))
            kernel(*tensors)

        monkeypatch.setattr(module, name, watched)

    watch(expand, "expand")
    watch(unshrink, "unshrink")
    with on_triton():
        train(base, jobs)
    assert set(launched) == {
        *(("expand", leaf) for leaf in ("q_proj", "o_proj", "down_proj")),
        *(("unshrink", leaf) for leaf in ("q_proj", "o_proj", "gate_proj")),
    }


def test_what_is_made_again_is_the_same_to_the_bit(model_folder):
    base = load_base(model_folder("llama"), str(device()))
    jobs = make_jobs(base, CONFIGS[1:3], sequences=1, longest=10)
    found = []
    for recompute in Recompute:
        decoder = replace(base.decoder, recompute=recompute)
        with on_triton():
            results, gradients = train(replace(base, decoder=decoder), jobs)
        found.append((results, [flat(job) for job in gradients]))
    (first, expected), *others = found
    for results, gradients in others:
        assert results == first
        assert all(torch.equal(*pair) for pair in zip(gradients, expected, strict=True))


def test_a_job_folded_into_the_base_owes_nothing(model_folder):
    def trained() -> torch.Tensor:
        engine = Engine(load_base(model_folder("llama"), str(device())), 80)
        engine.join(make_job("j", PacaConfig(rank=5), random_sequences(1, 4, longest=20)))
        steps_of(engine, ["j"], until=2)
        return weights_of(engine.jobs["j"].adapter)

    expected = trained()
    with on_triton():
        found = trained()
    assert distance(found, expected) < 1e-3


def test_staged_rows_train_as_the_reference_does(model_folder):
    """Fetched, looked up, pushed back and clipped by kernels, in two passes and a cache."""
    config = MeftConfig(num_keys=24, top_k=3, num_experts=8, num_probes=2)

    def trained(home: RowsHome | None) -> torch.Tensor:
        engine = Engine(load_base(model_folder("llama"), str(device())), 80, home=home)
        data = random_sequences(1, 4, longest=12)
        job = make_job("j", config, data, batch_size=2, max_grad_norm=0.01)
        engine.join(job)
        steps_of(engine, ["j"], until=2)
        return weights_of(engine.jobs["j"].adapter)

    expected = trained(None)
    expert = 3 * 32
    staging = Staging(device(), torch.float32, 3 * expert, 2 * expert * 2 * 2 * 4)
    with on_triton():
        found = trained(RowsHome(staging=staging))
    assert distance(found, expected) < 1e-3


def test_a_base_in_bfloat16_trains_as_the_reference_does(model_folder):
    base = load_base(model_folder("llama"), str(device()), torch.bfloat16)
    jobs = make_jobs(base, CONFIGS[:3], sequences=2, longest=30)
    _, expected = train(base, jobs)
    with on_triton():
        _, found = train(base, jobs)
    for mine, reference in zip(found, expected, strict=True):
        assert distance(flat(mine), flat(reference)) < 0.05


def test_jobs_step_as_with_the_reference(model_folder):
    def trained() -> dict[str, list]:
        engine = Engine(load_base(model_folder("llama"), str(device())), 80)
        for index, config in enumerate(CONFIGS):
            data = random_sequences(index, 4, longest=20)
            engine.join(make_job(f"j{index}", config, data, batch_size=2))
        return steps_of(engine, list(engine.jobs), until=2)

    expected = trained()
    with on_triton():
        found = trained()
    for name, reports in expected.items():
        for ours, theirs in zip(found[name], reports, strict=True):
            assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
            assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-3)


def test_a_job_gets_the_same_bits_whoever_is_beside_it_where_the_base_product_allows(model_folder):
    """Its adapter gradients, from the same base activations: the kernels add nothing of others'."""
    base = load_base(model_folder("llama"), str(device()))
    jobs = make_jobs(base, [LoraConfig(rank=4), PacaConfig(rank=5)], sequences=2, longest=30)
    with on_triton():
        _, together = train(base, jobs)
        _, again = train(base, jobs)
    for first, second in zip(together, again, strict=True):
        assert torch.equal(flat(first), flat(second))
