"""What a worker tells of a round, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from worker_world import BASE, WORKER, World

from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.calibration import Calibration, calibration_key
from pando_shared.codec import encode
from pando_shared.fleet import footprint_on
from pando_shared.footprint import Footprint
from pando_shared.recompute import Recompute
from pando_shared.room import room_on
from pando_worker.engine.engine import Engine
from pando_worker.host import expect
from pando_worker.probe import probe
from tiny_models import random_sequences


def test_a_round_is_reported(world: World):
    lora, meft = LoraConfig(rank=4), MeftConfig(num_keys=32, top_k=4, num_experts=4, num_probes=2)
    first, second = world.submit(lora, n_epochs=50), world.submit(meft, seed=2, n_epochs=50)
    world.round(first, second, seconds=4)
    (told,) = world.store.take_reports()
    worker = world.host.worker
    assert (told.worker_id, told.incarnation, told.base_model, told.device) == (
        WORKER,
        worker.incarnation,
        BASE,
        "cpu",
    )
    # A microbatch a second; both jobs' batches fit into one and are two epochs.
    assert told.seconds == 4.0
    sizes = {
        job_id: sum(len(tokens) for tokens, _ in random_sequences(seed, 8).items)
        for job_id, seed in ((first, 1), (second, 2))
    }
    for service, adapter in zip(told.jobs, (lora, meft), strict=True):
        assert (service.adapter, service.steps) == (adapter, 4)
        assert service.tokens == 2 * sizes[service.job_id]
        assert service.step_tokens == service.tokens / 4
    assert told.microbatch_tokens >= sum(sizes.values()) / 2
    assert told.microbatch_tokens <= sum(sizes.values())
    assert told.longest == max(random_sequences(1, 8).longest, random_sequences(2, 8).longest)
    assert told.resident_bytes == worker.resident_bytes
    assert told.measured_bytes == worker.peak_bytes > worker.resident_bytes
    assert told.out_of_memory == 0
    shape = world.host.shape
    together = sum(
        (footprint_on(worker, shape, a, told.longest) for a in (lora, meft)), Footprint()
    )
    room = room_on(worker, shape)
    assert told.recompute is world.host.engine.recompute is Recompute.NOTHING
    assert told.predicted_bytes == room.peak_bytes(
        together, Recompute.NOTHING, told.microbatch_tokens
    )


def test_without_a_step_nothing_is_told(world: World):
    job_id = world.submit()
    world.round(job_id)
    world.store.take_reports()
    world.round()
    assert world.store.take_reports() == []


def test_a_step_in_work_tells_how_long_it_is(world: World):
    job_id = world.submit(count=40, batch_size=40)
    tokens = sum(len(t) for t, _ in random_sequences(1, 40).items)
    world.host.use_base(BASE).token_budget = 256
    world.round(job_id, seconds=1)
    (told,) = world.store.take_reports()
    (service,) = told.jobs
    assert (service.steps, service.tokens, service.step_tokens) == (0, 0, tokens)
    assert 0 < told.microbatch_tokens <= 256


def test_running_out_of_memory_is_told_with_the_size_that_was_tried(world: World, monkeypatch):
    job_id = world.submit(count=40, batch_size=40, n_epochs=2)
    run = Engine._run

    def starved(engine: Engine, batches: Sequence) -> list:
        if engine.token_budget > 1024:
            raise torch.OutOfMemoryError("not enough memory")
        return run(engine, batches)

    monkeypatch.setattr(Engine, "_run", starved)
    tokens = sum(len(t) for t, _ in random_sequences(1, 40).items)
    world.round(job_id)
    (told,) = world.store.take_reports()
    assert told.out_of_memory == 2
    assert told.microbatch_tokens == min(tokens, 4096)
    assert world.job(job_id).memory_ratio is None


def test_a_job_is_known_by_what_it_was_measured_to_take(world: World, monkeypatch):
    job_id = world.submit(MeftConfig(num_keys=1024, top_k=4), n_epochs=50)
    other = world.submit(n_epochs=50)
    measured = 0

    def peak(device: str) -> int:
        return measured

    monkeypatch.setattr("pando_worker.round.peak_bytes", peak)
    world.host.use_base(BASE)
    worker, shape = world.host.worker, world.host.shape
    own = footprint_on(worker, shape, world.job(job_id).spec.adapter).device_bytes
    measured = 4 * own + worker.resident_bytes + (1 << 30)
    world.round(job_id, seconds=1)
    assert world.job(job_id).memory_ratio == 4.0
    known = expect(world.host, world.host.engine)
    assert known.own[job_id].measured
    assert known.own[job_id].expected == 4 * own
    # A neighbour comes; what is as expected changes nothing of the known job.
    measured = known.peak_bytes(Recompute.NOTHING, 100)
    world.round(job_id, other, seconds=1)
    assert world.job(other).memory_ratio is not None


def test_memory_that_ran_out_on_a_job_is_planned_for_but_no_measurement(world: World):
    job_id = world.submit(MeftConfig(num_keys=1024, top_k=4), n_epochs=50)
    world.round(job_id, seconds=1)
    plain = expect(world.host, world.host.engine)
    world.store.update_job(job_id, lambda job: replace(job, out_of_memory=1))
    careful = expect(world.host, world.host.engine)
    round_of = Recompute.NOTHING, 512
    own = plain.own[job_id].expected
    more = careful.peak_bytes(*round_of) - plain.peak_bytes(*round_of)
    assert more == pytest.approx(own / 4, abs=1)
    # Else the ratio, which is scaled by this each time, would grow from round to round.
    measured = plain.peak_bytes(*round_of)
    ratio = world.job(job_id).memory_ratio
    assert careful.memory_ratios(*round_of, measured)[job_id] == pytest.approx(ratio, abs=1e-6)


def test_what_was_learnt_decides_what_is_expected(world: World):
    job_id = world.submit(n_epochs=50)
    world.round(job_id, seconds=1)
    plain = expect(world.host, world.host.engine)
    learnt = replace(Calibration(), step=3.0, lora=2.0)
    world.store.put_learnt(calibration_key(BASE, "cpu"), encode(learnt).decode())
    taught = expect(world.host, world.host.engine)
    step = plain.room.step.bytes(plain.together, 512, Recompute.NOTHING)
    more = taught.peak_bytes(Recompute.NOTHING, 512) - plain.peak_bytes(Recompute.NOTHING, 512)
    # The round has measured the job itself, so that the method's factor is not its own.
    assert more == 2 * step


class TestProbe:
    def test_two_sizes_are_measured_and_no_trace_is_left(self, world: World):
        engine = world.host.use_base(BASE)
        before = engine.base.digest()
        recompute = engine.recompute = Recompute.CHEAP
        state = torch.get_rng_state()
        found = probe(engine, world.host.worker, world.host.shape)
        assert found is not None
        small, large = found.tokens
        assert (found.base_model, large) == (BASE, 4 * small)
        assert 64 <= small <= 1024
        assert world.host.worker.resident_bytes / 2 < found.peak_bytes[0] <= found.peak_bytes[1]
        assert (engine.recompute, dict(engine.jobs)) == (recompute, {})
        assert torch.equal(torch.get_rng_state(), state)
        assert engine.base.digest() == before

    def test_a_worker_has_it_once_its_base_is_loaded(self, world: World, monkeypatch):
        monkeypatch.setattr("pando_worker.host.probe", probe)
        world.host.use_base(BASE)
        (told,) = world.store.list_workers()
        assert told.probe == world.host.worker.probe
        assert told.probe is not None

    def test_where_memory_is_tight_there_is_none(self, world: World):
        engine = world.host.use_base(BASE)
        tight = replace(world.host.worker, budget_bytes=world.host.worker.resident_bytes)
        assert probe(engine, tight, world.host.shape) is None

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("none"), RuntimeError("broken")])
    def test_what_fails_is_only_logged(self, world: World, monkeypatch, error):
        engine = world.host.use_base(BASE)

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("pando_worker.probe.run_microbatch", fail)
        assert probe(engine, world.host.worker, world.host.shape) is None

    def test_a_slow_device_is_left_alone(self, world: World, monkeypatch):
        engine = world.host.use_base(BASE)
        monkeypatch.setattr("pando_worker.probe.time.perf_counter", iter(range(100)).__next__)
        assert probe(engine, world.host.worker, world.host.shape) is None
