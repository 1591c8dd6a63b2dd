"""Rows that pass through buffers and a cache train as rows do that are used where they lie."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from adapter_tensors import weights_of
from engine_jobs import losses, make_job, neighbours, relative, steps_of
from lazy_adamw_reference import LazyAdamW
from meft_reference import meft_model

import peft_reference
from pando_kernels.meft import torch_expert_ops
from pando_kernels.meft.rows import HostRows
from pando_kernels.meft.staged_layer import StagedMemory
from pando_kernels.meft.staging import Staging
from pando_shared.adapters import MeftConfig
from pando_shared.recompute import Recompute
from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import (
    parameters_digest,
    restore_checkpoint,
    save_checkpoint,
    snapshot,
)
from pando_worker.engine.engine import Engine, JobFailed
from pando_worker.engine.rows_home import RowsHome
from tiny_models import random_sequences

STEPS = 12
#: 16 experts of 4 keys and 4 values; 32 numbers a row, two layers.
MEFT = MeftConfig(num_keys=64, top_k=6, num_experts=16, num_probes=3)
EXPERT = 4 * 32
#: Numbers of a buffer, bytes of a job's cache.
ROOMS = {
    "one-pass": (16 * EXPERT, 0),
    "many-passes": (3 * EXPERT, 0),
    "less-than-an-expert": (5, 0),
    "some-cached": (5 * EXPERT, 6 * EXPERT * 2 * 2 * 4),
    "all-cached": (16 * EXPERT, 16 * EXPERT * 2 * 2 * 4),
}


@pytest.fixture(scope="module")
def folder(model_folder):
    return model_folder("llama")


def staged(folder, room: str, token_budget: int = 150) -> Engine:
    numbers, cache = ROOMS[room]
    staging = Staging(torch.device("cpu"), torch.float32, numbers, cache, threads=2)
    return Engine(load_base(folder), token_budget, home=RowsHome(staging=staging))


def subject(name="j", steps=STEPS, seed=3):
    training = {"batch_size": 3, "max_steps": steps, "seed": seed, "weight_decay": 0.01}
    return make_job(name, MEFT, random_sequences(5, 10), **training)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("company", [False, True], ids=["alone", "in-company"])
def test_a_job_equals_the_reference(folder, room, company):
    engine = staged(folder, room)
    resident = engine.join(subject())
    model = meft_model(folder, resident.adapter)
    if company:
        for neighbour in neighbours():
            engine.join(neighbour)
        engine.join(subject("twin", seed=4))
    reports = steps_of(engine, ["j"])["j"]
    job = resident.job
    expected = peft_reference.train(model, job.train, job.plan, STEPS, LazyAdamW)
    assert losses(reports) == pytest.approx(expected, rel=1e-5)
    theirs = dict(model.named_parameters())
    for name, ours in resident.adapter.parameters.items():
        assert relative(ours, theirs[name].detach()) <= 1e-4, name


@pytest.mark.parametrize("room", ROOMS)
def test_what_travels_is_counted(folder, room):
    engine = staged(folder, room)
    resident = engine.join(subject())
    steps_of(engine, ["j"])
    memory = resident.adapter.memory
    memory.settle()
    traffic = memory.traffic
    rows = memory.rows
    updates = int(rows.counts.sum())
    # A touched row's key and value gradients go back once a microbatch, of which a step has some.
    assert 2 * updates <= traffic.rows_out <= 2 * 3 * updates
    assert (traffic.hits > 0) is ("cached" in room)
    assert traffic.rows_in > 0
    assert (traffic.splits > 0) is (room in ("many-passes", "less-than-an-expert", "some-cached"))
    assert traffic.seconds == 0.0


def test_a_full_cache_is_only_refreshed(folder):
    """What is cached travels when a step has changed it, and at the start."""
    engine = staged(folder, "all-cached")
    resident = engine.join(subject())
    steps_of(engine, ["j"])
    memory = resident.adapter.memory
    memory.settle()
    last = int((memory.rows.changed_at == STEPS).sum())
    everything = 2 * memory.rows.counts.numel()
    changed = 2 * (int(memory.rows.counts.sum()) - last)
    assert memory.traffic.rows_in == everything + changed


def test_a_step_given_up_and_a_validation_change_nothing_of_the_cache(folder):
    """What is cached has a part in how sums are rounded, so it follows from finished steps."""
    straight, disturbed = staged(folder, "some-cached", 40), staged(folder, "some-cached", 40)
    for engine in (straight, disturbed):
        engine.join(replace(subject(), valid=random_sequences(8, 6)))
    steps_of(straight, ["j"])
    for until in (3, 4, 6):
        steps_of(disturbed, ["j"], until=until)
        disturbed.validate("j")
        disturbed.step()
        disturbed.jobs["j"].abandon_batch()
    steps_of(disturbed, ["j"])
    ours, theirs = (weights_of(engine.jobs["j"].adapter) for engine in (disturbed, straight))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("room", ["many-passes", "some-cached"])
def test_stopping_and_going_on_changes_no_bit(folder, tmp_path, room):
    straight, stopped = staged(folder, room), staged(folder, room)
    straight.join(subject())
    steps_of(straight, ["j"])
    steps_of(stopped, [stopped.join(subject()).job.id], until=5)
    save_checkpoint(snapshot(stopped.jobs["j"]), tmp_path / "c")
    resumed = staged(folder, room)
    restore_checkpoint(resumed.join(subject()), tmp_path / "c")
    steps_of(resumed, ["j"])
    ours, theirs = (weights_of(engine.jobs["j"].adapter) for engine in (resumed, straight))
    assert torch.equal(ours, theirs)


def test_a_snapshot_waits_for_the_update_in_progress(folder, tmp_path):
    engine = staged(folder, "many-passes")
    resident = engine.join(subject())
    steps_of(engine, ["j"], until=4)
    save_checkpoint(snapshot(resident), tmp_path / "c")
    restored = staged(folder, "many-passes").join(subject())
    restore_checkpoint(restored, tmp_path / "c")
    assert parameters_digest(restored) == parameters_digest(resident)


def test_a_step_given_up_leaves_no_trace(folder):
    straight, disturbed = staged(folder, "some-cached", 40), staged(folder, "some-cached", 40)
    straight.join(subject())
    expected = losses(steps_of(straight, ["j"], until=4)["j"])
    resident = disturbed.join(subject())
    found = losses(steps_of(disturbed, ["j"], until=2)["j"])
    disturbed.step()
    assert resident.batch is not None
    resident.abandon_batch()
    assert not resident.adapter.memory.rows.gradient.any()
    found += losses(steps_of(disturbed, ["j"], until=4)["j"])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_job_that_left_leaves_nothing(folder):
    """Neither its rows nor its cache wait for a collector of garbage, nor the shared buffers."""
    engine = staged(folder, "some-cached")
    memory = weakref.ref(engine.join(subject()).adapter.memory)
    steps_of(engine, ["j"], until=2)
    gc.disable()
    try:
        engine.leave("j")
        assert memory() is None
    finally:
        gc.enable()
    staging = engine.home.staging
    assert staging.reads.numbers == staging.writes.numbers == 0
    engine.join(subject())
    assert staging.reads.numbers == 5 * EXPERT


def test_a_job_whose_rows_cannot_be_updated_fails_alone(folder, monkeypatch):
    engine = staged(folder, "some-cached")
    victim, neighbour = engine.join(subject()), engine.join(subject("twin", seed=4))
    rows, step = victim.adapter.memory.rows, HostRows.step

    def fail(self, *arguments):
        if self is rows:
            raise MemoryError("no room for gathered rows")
        step(self, *arguments)

    monkeypatch.setattr(HostRows, "step", fail)
    failed = []
    while not neighbour.finished:
        failed += [report for report in engine.step() if isinstance(report, JobFailed)]
    assert [report.job_id for report in failed] == ["j"]
    assert set(engine.jobs) == {"twin"}


def test_running_out_of_memory_in_a_pass_leaves_buffers_free(folder, monkeypatch):
    engine = staged(folder, "some-cached")
    resident = engine.join(subject())
    steps_of(engine, ["j"], until=2)
    lookup, calls = torch_expert_ops.lookup, []

    def fail(*arguments):
        calls.append(1)
        if len(calls) in (4, 9):
            raise torch.OutOfMemoryError("in mid-pass")
        lookup(*arguments)

    monkeypatch.setattr(torch_expert_ops, "lookup", fail)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            steps_of(engine, ["j"])
        resident.abandon_batch()
    assert not any(buffer.reserved for buffer in engine.home.staging.reads.all)
    steps_of(engine, ["j"])
    assert resident.finished


def test_what_is_made_again_in_the_backward_pass_sends_for_nothing(folder, monkeypatch):
    sent = {}
    for recompute in (Recompute.NOTHING, Recompute.BLOCK):
        engine = staged(folder, "one-pass")
        engine.recompute = recompute
        engine.join(subject())
        asked = []
        send = StagedMemory._send
        monkeypatch.setattr(
            StagedMemory, "_send", lambda *a, asked=asked, send=send: asked.append(1) or send(*a)
        )
        steps_of(engine, ["j"], until=4)
        monkeypatch.undo()
        sent[recompute] = len(asked), weights_of(engine.jobs["j"].adapter)
    assert sent[Recompute.NOTHING][0] == sent[Recompute.BLOCK][0] > 0
    assert torch.equal(sent[Recompute.NOTHING][1], sent[Recompute.BLOCK][1])


def test_rows_on_disk_train_the_same(folder, tmp_path):
    engines = []
    for home in (RowsHome(), RowsHome(folder=tmp_path / "rows")):
        engine = Engine(load_base(folder), 150, home=home)
        engine.join(subject())
        steps_of(engine, ["j"])
        engines.append(engine)
    assert list((tmp_path / "rows").iterdir()) == []
    memory, disk = (parameters_digest(engine.jobs["j"]) for engine in engines)
    assert memory == disk


def test_a_disk_without_room_is_an_os_error(folder, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    engine = Engine(load_base(folder), 150, home=RowsHome(folder=tmp_path / "rows"))
    with pytest.raises(OSError, match="No space left"):
        engine.join(subject())
    assert list((tmp_path / "rows").iterdir()) == []
    assert not engine.jobs


def test_a_base_in_bfloat16_reads_a_copy_of_the_rows(folder):
    """As on a GPU by default: values in fp32 are trained, copies in 16 bits multiplied with."""
    base = load_base(folder, "cpu", torch.bfloat16)
    staging = Staging(torch.device("cpu"), torch.bfloat16, 5 * EXPERT, 6 * EXPERT * 2 * 2 * 2)
    found = []
    for home in (RowsHome(), RowsHome(staging=staging)):
        engine = Engine(base, 150, home=home)
        resident = engine.join(subject())
        found.append(losses(steps_of(engine, ["j"])["j"]))
    assert found[1] == pytest.approx(found[0], rel=0.01)
    memory = resident.adapter.memory
    memory.settle()
    assert memory.rows.shadow.dtype == memory.layers[0].dtype == torch.bfloat16
    assert torch.equal(memory.rows.shadow, memory.rows.value.bfloat16())
    assert memory.rows.counts.any()
