"""Benchmarks run here on tiny sizes; what they count and compare is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "support"))


def smoke(script: str, tmp_path: Path, *words: str) -> tuple[str, dict[str, object]]:
    """What a benchmark prints, and its JSON."""
    target = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--smoke", "--json", str(target), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(target.read_text())


def test_segment_kernels(tmp_path: Path) -> None:
    printed, told = smoke("segment_kernels.py", tmp_path)
    assert told["wrong"] == []
    assert [row["failure"] for row in told["rows"] if row["failure"]] == []
    assert {"torch", "triton", "transformers", "device", "commit", "date"} <= told["facts"].keys()
    assert printed.splitlines()[-1].startswith("32->qkv")
    assert "LoRAFusion: not measured" in printed


def test_steps(tmp_path: Path) -> None:
    printed, told = smoke("step.py", tmp_path)
    assert [row["failure"] for row in told["rows"] if row["failure"]] == []
    assert told["skipped"] == []
    assert {row["section"] for row in told["rows"]} == {"gsm8k", "conversations", "memory", "paca"}
    assert "paca: peft, LoRA r8" in printed.splitlines()[-1]


def test_scheduler(tmp_path: Path) -> None:
    printed, told = smoke("scheduler.py", tmp_path)
    assert [row["jobs"] for row in told["growth"]] == [50]
    assert all(row["steady_median_seconds"] > 0 for row in told["passes"])
    assert printed.splitlines()[-1].startswith("50")
    if "study" not in told:
        pytest.skip("no traces: set PANDO_TEST_DATA")
    sides = {row["side"] for row in told["study"]["figures"]}
    assert {"pando", "fifo-one", "fifo-fused", "minpad", "sjf", "las", "srpt-oracle"} <= sides
    assert {row["out_of_memory"] for row in told["study"]["cells"]} == {0}
    assert {row["seeds"] for row in told["study"]["targets"]} == {1}
    assert "which targets hold" in printed


def test_api(tmp_path: Path) -> None:
    printed, told = smoke("api.py", tmp_path)
    asked = [(row["request"], row["queued"]) for row in told["requests"]]
    assert asked == [("read", 0), ("create", 0), ("read", 20), ("create", 20)]
    assert all(0 < row["p50_seconds"] <= row["p99_seconds"] for row in told["requests"])
    assert (told["streams"]["streams"], told["listing"]["jobs"]) == (20, 150)
    assert 0 < told["streams"]["seconds_until_all_have_an_event"] < 60
    assert told["memory"]["rss_after"] > 0
    assert "per second" in printed


def test_api_soak(tmp_path: Path) -> None:
    printed, told = smoke("api_soak.py", tmp_path)
    tenths = told["tenths"]
    assert len(tenths) == 10
    assert 400 <= tenths[-1]["requests"] == sum(told["asked"].values())
    assert set(told["asked"]) == {
        *("reads", "lists", "creates", "cancels", "uploads", "deletes", "streams")
    }
    assert "growth: " in printed


def test_growth_is_a_slope() -> None:
    from api_soak import growth

    rows = [{"requests": number * 10_000, "rss": 5_000 + number * 30} for number in range(10)]
    rows[0]["rss"] = 0
    assert growth(rows) == pytest.approx(300)


def test_knowledge(tmp_path: Path) -> None:
    printed, told = smoke("knowledge.py", tmp_path)
    assert [row["family"] for row in told["rows"]] == ["LoRA", "PaCA", "dense", "MEFT"]
    assert all(
        row["step_ratio"] > 0 and 0 <= row[data]["mean"] <= 1
        for row in told["rows"]
        for data in ("few", "many")
    )
    assert printed.splitlines()[-1].startswith("MEFT, M = 512")


def test_every_method_of_the_study_has_a_rate_for_both_lessons() -> None:
    from knowledge_methods import METHODS

    rows = json.loads((BENCHMARKS / "results" / "knowledge_rates.json").read_text())
    tried = {(row["label"], row["data"], row["rate"]) for row in rows}
    assert tried == {
        (method.label, data, rate)
        for method in METHODS
        for data in ("few", "many")
        for rate in method.rates
    }


def test_a_meft_adapter_holds_its_router_and_a_bounded_cache_on_a_gpu() -> None:
    from knowledge_methods import gpu_bytes, parameters
    from knowledge_training import MODEL

    from pando_shared.adapters import LoraConfig, MeftConfig
    from pando_shared.catalogue import read_base_model

    base = read_base_model("tiny", MODEL)  # 4 layers, hidden 128
    meft = MeftConfig(num_keys=512, num_experts=8)
    rows, router = 4 * 2 * 512 * 128, 4 * 8 * 128
    assert parameters(base, meft) == rows + router
    assert gpu_bytes(base, meft, 0) == 18 * router
    assert gpu_bytes(base, meft, 1000) == 18 * router + 1000
    assert gpu_bytes(base, meft, 1 << 30) == 18 * router + 2 * rows
    lora = LoraConfig(rank=3)
    assert gpu_bytes(base, lora, 0) == 18 * parameters(base, lora)


def test_facts_are_seeded_and_each_answer_is_one_target() -> None:
    from knowledge_facts import ANSWERS, make_facts, told_apart
    from knowledge_training import MODEL

    facts, again, others = (make_facts(MODEL, 50, seed) for seed in (3, 3, 4))
    assert np.array_equal(facts.ids, again.ids)
    assert not np.array_equal(facts.ids, others.ids)
    names = {tuple(tokens[~targets]) for tokens, targets in facts.items}
    assert len(names) == 50
    assert told_apart(MODEL)[facts.ids].all()
    assert facts.facts == sum(int(targets.sum()) for _, targets in facts.items) == 50 * len(ANSWERS)


def test_the_dense_adapter_is_a_wider_network_that_starts_at_nothing() -> None:
    from knowledge_dense import DenseConfig, answer_logits, attach, stock_base
    from knowledge_training import MODEL

    model = stock_base(str(MODEL))
    ids = torch.arange(6, 18)[None]
    before = answer_logits(model, ids, 4)
    adapters = attach(model, DenseConfig(10), seed=1)
    torch.testing.assert_close(answer_logits(model, ids, 4), before, rtol=0, atol=0)
    adapter, x = adapters[0], torch.randn(3, 128)
    with torch.no_grad():
        adapter.values.normal_()
    by_hand = sum(
        torch.clamp(x @ key, min=0)[:, None] * value
        for key, value in zip(adapter.keys, adapter.values, strict=True)
    )
    torch.testing.assert_close(adapter(x), by_hand)
    assert not torch.equal(answer_logits(model, ids, 4), before)


def test_counted_flops_of_the_base_are_those_of_the_engines_products() -> None:
    from engine_side import frozen_probe
    from length_mixes import uniform_batch
    from llama_shapes import TINY, build, step_flops

    from pando_shared.training import TrainingConfig, resolve
    from pando_worker.engine.base_model import open_base
    from pando_worker.engine.data import ListSequences
    from pando_worker.engine.engine import Engine
    from pando_worker.engine.job import TrainingJob

    base = open_base(build(TINY, torch.device("cpu"), torch.float32), "tiny")
    # So short that what attention does beyond the causal half is nothing.
    items = uniform_batch(24, 2, TINY.vocabulary)
    probe = frozen_probe(base)
    plan = resolve(TrainingConfig(n_epochs=1, batch_size=len(items)), probe, len(items))
    engine = Engine(base, 1000)
    engine.join(TrainingJob("job", probe, plan, ListSequences(tuple(items))))
    with FlopCounterMode(display=False) as counter:
        engine.step()
    assert step_flops(TINY, [(items, None)]) == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_an_adapters_flops_are_six_for_each_of_its_parameters_and_rows() -> None:
    from length_mixes import uniform_batch
    from llama_shapes import TINY, step_flops

    from pando_shared.adapters import LoraConfig

    rows, rank = 60, 8
    items = uniform_batch(rows // 2, 2, TINY.vocabulary)
    linears = [*TINY.attention_linears, *TINY.network_linears]
    parameters = rank * sum(k + n for k, n in linears)
    last = rank * sum(k + n for k, n in TINY.network_linears)  # for half of the rows only
    added = step_flops(TINY, [(items, LoraConfig(rank=rank))]) - step_flops(TINY, [(items, None)])
    assert added == pytest.approx(6 * (TINY.layers * parameters * rows - last * rows / 2))


@pytest.mark.parametrize("mix", ["gsm8k", "conversations"])
def test_jobs_together_have_the_lengths_of_the_mix(mix: str) -> None:
    from length_mixes import batches, mean_length

    dealt = batches(mix, jobs=8, size=50, vocabulary=100, longest=20_000)
    lengths = [len(tokens) for items in dealt for tokens, _ in items]
    assert [len(items) for items in dealt] == [50] * 8
    assert np.mean(lengths) == pytest.approx(mean_length(mix), rel=0.02)
    assert not any(at[0] or not at.any() for items in dealt for _, at in items)


def test_every_setting_of_the_peer_has_the_same_gradient() -> None:
    from length_mixes import batches
    from llama_shapes import TINY, build
    from peft_side import CANDIDATES, VARLEN, Settings, gradients, register_varlen, with_lora

    register_varlen()
    adapted = with_lora(build(TINY, torch.device("cpu"), torch.float32), rank=4)
    (batch,) = batches("gsm8k", jobs=1, size=5, vocabulary=TINY.vocabulary, longest=50)
    wanted, *others = (
        gradients(adapted, batch, settings)
        for settings in (
            *CANDIDATES,
            Settings(True, "sdpa", pieces=3),
            Settings(True, VARLEN, checkpointing=True),
        )
    )
    assert max(float(grad.abs().max()) for grad in wanted) > 0
    for found in others:
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_meft_beside_a_dense_adapter(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"gpu": {"kept": true}}')
    printed, told = smoke("meft.py", tmp_path, "--parts", "cpu")
    sizes, rows = told["cpu"]["sizes"], told["cpu"]["rows"]
    assert [row["keys"] for row in rows] == sizes["keys"]
    assert all(0 < row["touched_rows"] <= row["keys"] for row in rows)
    for row in rows:  # keys and values with gradients and two moments, fp32
        assert row["dense"]["resident_bytes"] > 0.95 * 2 * row["keys"] * sizes["d"] * 16
    assert told["gpu"] == {"kept": True}
    assert printed.splitlines()[-2].startswith("dense")


def test_the_dense_adapters_gradients_are_autograds() -> None:
    from meft_sides import Dense, Problem

    problem = Problem.of(7, 12)
    dense = Dense(problem, 20)
    dense.trained.value.normal_(generator=torch.Generator().manual_seed(0))
    weights = dense.trained.value.clone().requires_grad_()
    x = problem.x.clone().requires_grad_()
    y = torch.relu(x @ weights[0].t()) @ weights[1]
    y.backward(problem.dy)
    dense.forward()
    dense.backward()
    torch.testing.assert_close(problem.y, y.detach())
    torch.testing.assert_close(problem.dx, x.grad)
    torch.testing.assert_close(dense.trained.gradient, weights.grad)


def test_meft_rows_from_the_hosts_memory() -> None:
    from meft_gpu import measure_gpu
    from meft_sizes import DRY_RUN

    told = measure_gpu(DRY_RUN, torch.device("cpu"), seconds=1e6)
    staged, cached, resident = told["variants"]
    assert told["skipped"] == []
    assert [v["failure"] for v in told["variants"]] == [None] * 3
    assert [v["name"] for v in told["variants"]] == ["staged", "cached", "resident"]
    assert all(len(v["step_seconds"]) == DRY_RUN.steps for v in (staged, cached, resident))
    for found in (staged, cached):
        touched, moved = found["touched_rows"], found["moved"]
        assert 0 < touched <= found["probed_rows"] <= found["all_rows"]
        # A step of two microbatches, whose rows may overlap.
        assert 0.95 * touched <= moved["rows_out"] <= 2 * touched * 1.05
    assert staged["moved"]["splits"] > 0
    assert staged["moved"]["hits"] > 0
    # With everything cached, what the step before changed is all that comes in.
    assert cached["moved"]["splits"] == 0
    assert cached["moved"]["rows_in"] == pytest.approx(cached["touched_rows"], rel=0.05)


def test_meft_recomputes_as_a_limit_needs_and_skips_what_the_host_cannot_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import meft_gpu
    from meft_sizes import DRY_RUN

    from pando_shared.recompute import Recompute

    run_block = meft_gpu.run_block

    def short_of_memory(*given: object) -> object:
        if given[4] is not Recompute.BLOCK:
            raise torch.OutOfMemoryError
        return run_block(*given)

    monkeypatch.setattr(meft_gpu, "run_block", short_of_memory)
    told = meft_gpu.measure_gpu(DRY_RUN, torch.device("cpu"), seconds=1e6)
    assert [v["recompute"] for v in told["variants"]] == ["block"] * 3
    monkeypatch.setattr(meft_gpu, "available_bytes", lambda: 0)
    told = meft_gpu.measure_gpu(DRY_RUN, torch.device("cpu"), seconds=1e6)
    assert [v["name"] for v in told["variants"]] == ["resident"]
    assert "the host has 0 GB" in told["skipped"][0]


def test_rows_on_the_device_are_updated_as_torchs_adamw_does() -> None:
    from meft_resident import ResidentMemory, device_rows

    from pando_kernels.adamw import AdamWSettings
    from pando_kernels.meft.rows import RowShape

    rows = device_rows(RowShape(2, 3, 4, 8), torch.bfloat16, torch.device("cpu"))
    memory, rng = ResidentMemory(rows), torch.Generator().manual_seed(0)
    weights = rows.value.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=0.01, weight_decay=0.1)
    for step in (1, 2, 3):
        gradient = torch.randn(rows.value.shape, generator=rng)
        rows.gradient.copy_(gradient)
        assert memory.collect() == pytest.approx(float(gradient.norm()), rel=1e-6)
        memory.step(step, 0.01, AdamWSettings(weight_decay=0.1), 0.5)
        weights.grad = 0.5 * gradient
        optimizer.step()
    torch.testing.assert_close(rows.value, weights.detach())
    torch.testing.assert_close(rows.shadow, weights.detach().bfloat16())
    assert not rows.gradient.any()
