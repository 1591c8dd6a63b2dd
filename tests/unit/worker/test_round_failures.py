"""What goes wrong with one job, with storage or with memory, and what it costs the others."""

from __future__ import annotations

import errno
from contextlib import contextmanager

import pytest
import torch
from adapter_tensors import fill_weights
from engine_jobs import relative
from safetensors.torch import load
from worker_world import CHECKPOINT_SECONDS, World

from pando_shared import layout
from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.errors import Unavailable
from pando_shared.jobs import JobState
from pando_worker.engine import adapters
from pando_worker.engine.engine import Engine
from pando_worker.round import run_round


def spoil(world: World, job_id: str, at: int) -> None:
    """Let a job's weights become NaN after this many microbatches."""
    began = world.clock.now()

    def hook() -> None:
        if world.clock.now() == began + at:
            fill_weights(world.host.engine.jobs[job_id].adapter, float("nan"))

    world.after_step.append(hook)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, world: World):
    """Storage takes nothing; yields the list of what was offered to it."""
    offered: list[str] = []

    def refuse(*arguments: object) -> None:
        offered.append(str(arguments[-1]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(world.storage, "upload_folder", refuse)
        patch.setattr(world.storage, "write", refuse)
        yield offered


def assert_close(ours: bytes, theirs: bytes) -> None:
    """Two exports hold the same weights, but for the order of sums; tensor by tensor, in norm."""
    expected = load(theirs)
    for name, tensor in load(ours).items():
        assert relative(tensor, expected[name]) <= 1e-5, name


class TestOneJobFails:
    def test_its_numbers_go_wrong_and_the_others_finish(self, world: World):
        victim, other = world.submit(), world.submit(seed=2)
        spoil(world, victim, 3)
        world.round(victim, other)
        job = world.job(victim)
        assert job.state is JobState.FAILED
        assert job.lease is None
        assert job.finished_at is not None
        assert job.error is not None
        assert job.error.code == "non_finite_loss"
        assert "step 4" in job.error.message
        assert world.messages(victim, "error") == [f"The job failed: {job.error.message}"]
        assert world.job(other).state is JobState.SUCCEEDED
        assert world.resident() == set()

    def test_the_others_learn_the_same_as_without_it(self, world: World):
        alone = world.submit(seed=2)
        world.round(alone)
        victim, beside = world.submit(), world.submit(seed=2)
        spoil(world, victim, 3)
        world.round(victim, beside)
        assert world.job(victim).state is JobState.FAILED
        assert_close(world.exported(beside), world.exported(alone))

    def test_its_data_is_damaged(self, world: World):
        victim, other = world.submit(), world.submit()
        folder = world.storage.local_path(layout.tokens(victim, "train"))
        content = (folder / "tokens.npy").read_bytes()
        for damaged in (content[:100], b"", b"not numpy at all" * 20):
            (folder / "tokens.npy").write_bytes(damaged)
            world.round(victim, other, seconds=2)
            error = world.job(victim).error
            assert error is not None
            assert error.code == "data_missing"
            assert "submit it again" in error.message
            victim = world.submit()
            folder = world.storage.local_path(layout.tokens(victim, "train"))
        world.round(other)
        assert world.job(other).state is JobState.SUCCEEDED

    def test_its_data_is_gone(self, world: World):
        victim, other = world.submit(), world.submit()
        world.storage.delete(layout.tokens(victim, "train"))
        world.round(victim, other)
        assert world.job(victim).error.code == "data_missing"
        assert world.job(other).state is JobState.SUCCEEDED

    def test_its_adapter_does_not_fit_the_base(self, world: World):
        victim, other = world.submit(LoraConfig(target_modules=("query",))), world.submit()
        world.round(victim, other)
        error = world.job(victim).error
        assert error.code == "invalid_request"
        assert "q_proj" in error.message
        assert world.job(other).state is JobState.SUCCEEDED

    def test_the_store_is_away_that_very_moment(self, world: World, monkeypatch):
        """The failure is told as soon as the store is back; the job does not hang."""
        victim, other = world.submit(), world.submit()
        spoil(world, victim, 3)

        def unreachable(*_: object) -> None:
            raise Unavailable("the store is away")

        with monkeypatch.context() as patch:
            patch.setattr(world.host.publisher.__class__, "fail", unreachable)
            with pytest.raises(Unavailable):
                world.round(victim, other)
        assert world.job(victim).state is JobState.RUNNING
        world.after_step.clear()
        spoil(world, victim, 1)
        world.round(victim, other)
        assert world.job(victim).state is JobState.FAILED
        assert world.job(other).state is JobState.SUCCEEDED
        assert world.resident() == set()


class TestBases:
    def test_an_unknown_base_fails_its_jobs(self, world: World):
        job_id = world.submit(model="nowhere")
        world.round(job_id, model="nowhere")
        error = world.job(job_id).error
        assert error.code == "base_model_unavailable"
        assert "nowhere" in error.message
        assert world.resident() == set()

    @pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
    def test_a_damaged_base_fails_its_jobs(self, world: World, tmp_path, base_folder, damage):
        folder = tmp_path / "damaged"
        folder.mkdir()
        for file in base_folder.iterdir():
            content = file.read_bytes()
            (folder / file.name).write_bytes(content[:50] if file.name == damage else content)
        world.models["damaged"] = str(folder)
        job_id = world.submit(model="damaged")
        world.round(job_id, model="damaged")
        assert world.job(job_id).error.code == "base_model_unavailable"
        other = world.submit()
        world.round(other)
        assert world.job(other).state is JobState.SUCCEEDED

    def test_another_base_takes_the_place_once_its_jobs_have_left(self, world: World, base_folder):
        world.models["again"] = str(base_folder)
        first = world.submit(n_epochs=50)
        world.round(first, seconds=3)
        second = world.submit(model="again")
        world.round(second, model="again")
        assert world.host.worker.base_model == "again"
        assert world.job(first).lease is None
        assert world.checkpoint_steps(first) == [3]
        assert world.job(second).state is JobState.SUCCEEDED


class TestFullDisk:
    def test_a_checkpoint_waits_for_better_times(self, world: World, monkeypatch):
        job_id = world.submit(n_epochs=60)
        with full_disk(monkeypatch, world):
            world.round(job_id, seconds=CHECKPOINT_SECONDS + 5)
        warnings = world.messages(job_id, "warn")
        assert warnings
        assert all("No space left on device" in message for message in warnings)
        assert world.checkpoint_steps(job_id) == []
        assert world.resident() == {job_id}
        world.round(job_id)
        assert world.job(job_id).state is JobState.SUCCEEDED

    def test_a_finished_adapter_waits_for_better_times(self, world: World, monkeypatch):
        straight, job_id = world.submit(), world.submit()
        world.round(straight)
        with full_disk(monkeypatch, world) as offered:
            for _ in range(30):
                world.round(job_id)
        assert world.job(job_id).state is JobState.RUNNING
        assert world.resident() == {job_id}
        # It rests between rounds that cannot do anything, and does not offer it every time.
        assert len(world.rests) == 30
        assert sum(path.endswith("/export") for path in offered) <= 8
        assert len(world.messages(job_id, "warn")) <= 15
        world.clock.advance(10)
        world.round(job_id)
        assert world.job(job_id).state is JobState.SUCCEEDED
        assert world.exported(job_id) == world.exported(straight)

    def test_a_finished_adapter_does_not_hold_up_the_others(self, world: World, monkeypatch):
        short, long = world.submit(max_steps=2), world.submit(n_epochs=20)
        with full_disk(monkeypatch, world) as offered:
            world.round(short, long, seconds=30)
        assert world.step_of(long) == 30
        assert sum(path.endswith(f"{short}/export") for path in offered) <= 7
        assert world.rests == []
        world.clock.advance(10)
        world.round(short, long)
        assert world.job(short).state is world.job(long).state is JobState.SUCCEEDED

    def test_a_paused_job_leaves_without_a_checkpoint(self, world: World, monkeypatch):
        job_id = world.submit()
        world.round(job_id, seconds=3)
        world.store.update_job(job_id, lambda job: job.to(JobState.PAUSED))
        world.host.keeper.tick()
        with full_disk(monkeypatch, world):
            world.round(job_id, seconds=3)
        job = world.job(job_id)
        assert (job.state, job.lease) == (JobState.PAUSED, None)
        assert world.resident() == set()
        assert "go on from the last checkpoint" in world.messages(job_id, "warn")[-1]

    def test_storage_that_cannot_be_read_keeps_a_newcomer_waiting(self, world: World, monkeypatch):
        newcomer, other = world.submit(), world.submit(n_epochs=20)
        world.round(other, seconds=2)

        def unreadable(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("pando_worker.seating.training_job", unreadable)
            world.round(other, newcomer, seconds=2)
        assert world.job(newcomer).state is JobState.RUNNING
        assert world.job(newcomer).lease is not None
        assert "Input/output error" in world.messages(newcomer, "warn")[0]
        assert world.resident() == {other}
        world.round(other, newcomer)
        assert world.job(newcomer).state is world.job(other).state is JobState.SUCCEEDED


class TestOutOfMemory:
    @pytest.fixture
    def starve(self, monkeypatch):
        """`starve(refuses)`: no memory for steps of which `refuses(engine)` holds."""

        def starve(refuses) -> None:
            step = Engine.step

            def starved(engine: Engine) -> list:
                if refuses(engine):
                    raise torch.OutOfMemoryError("not enough memory")
                return step(engine)

            monkeypatch.setattr(Engine, "step", starved)

        return starve

    def test_half_the_microbatch_is_tried_and_nothing_is_lost(self, world: World, starve):
        straight, job_id = world.submit(), world.submit()
        world.round(straight)
        starve(lambda engine: engine.token_budget > 1024)
        world.round(job_id)
        assert world.host.engine.token_budget == 1024
        assert world.job(job_id).state is JobState.SUCCEEDED
        assert world.exported(job_id) == world.exported(straight)

    def test_the_largest_adapter_goes_if_that_does_not_help(self, world: World, starve):
        small, large = world.submit(), world.submit(MeftConfig(num_keys=256, top_k=4))
        epoch = world.job(large).epoch
        starve(lambda engine: large in engine.jobs)
        world.round(small, large)
        job = world.job(large)
        assert (job.state, job.lease, job.epoch) == (JobState.QUEUED, None, epoch + 1)
        assert (job.out_of_memory, job.queued_at) == (1, world.clock.now() - 10)
        (said,) = world.messages(large, "warn")
        assert "to train alone" in said
        assert "predicted 123456 bytes, measured" in said
        assert world.job(small).state is JobState.SUCCEEDED
        assert world.host.engine.token_budget == world.host.worker.token_budget
        assert world.resident() == set()

    def test_the_third_time_it_fails(self, world: World, starve):
        job_id = world.submit()
        starve(lambda engine: True)
        for count in (1, 2):
            world.round(job_id)
            assert world.job(job_id).out_of_memory == count
            world.place(job_id)
        world.round(job_id)
        job = world.job(job_id)
        assert (job.state, job.out_of_memory) == (JobState.FAILED, 2)
        assert job.error.code == "gpu_out_of_memory"
        assert "predicted 123456 bytes, measured" in job.error.message

    def test_it_goes_on_from_its_last_checkpoint(self, world: World, starve):
        straight, job_id = world.submit(), world.submit()
        world.round(straight)
        world.round(job_id, seconds=3)
        world.round()  # it leaves by a checkpoint
        world.place(job_id)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "step", refuse)
            world.round(job_id)
        assert world.job(job_id).state is JobState.QUEUED
        assert world.checkpoint_steps(job_id) == [3]
        world.place(job_id)
        world.round(job_id)
        assert world.job(job_id).state is JobState.SUCCEEDED
        assert world.exported(job_id) == world.exported(straight)

    def test_one_that_is_paused_this_moment_stays_paused(self, world: World, starve):
        job_id = world.submit()
        world.round(job_id, seconds=1)

        def pause(engine: Engine) -> bool:
            world.store.update_job(job_id, lambda job: job.to(JobState.PAUSED))
            return True

        world.host.engine.token_budget = 256
        starve(pause)
        world.round(job_id, seconds=1)
        job = world.job(job_id)
        assert (job.state, job.lease, job.out_of_memory) == (JobState.PAUSED, None, 1)

    def test_in_the_middle_of_a_step_the_step_starts_anew(self, world: World, starve):
        straight, job_id = (world.submit(count=40, batch_size=40) for _ in range(2))
        world.round(straight)
        world.host.engine.token_budget = 512  # less than the batch has
        calls = iter(range(10_000))
        starve(lambda engine: next(calls) == 1)
        world.round(job_id)
        assert world.host.engine.token_budget == 256
        assert_close(world.exported(job_id), world.exported(straight))


def refuse(engine: Engine) -> list:
    raise torch.OutOfMemoryError("not enough memory")


@pytest.mark.parametrize("error", [RuntimeError("cannot be locked"), MemoryError("no room")])
def test_a_job_that_does_not_fit_as_it_joins_fails_alone(world: World, monkeypatch, error):
    neighbour = world.submit(LoraConfig(rank=2))
    too_large = world.submit(MeftConfig(num_keys=64, top_k=4))

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pando_worker.engine.adapters.make_vector", refuse_for_meft(refuse))
    world.round(neighbour, too_large)
    assert world.job(neighbour).state is JobState.SUCCEEDED
    job = world.job(too_large)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "out_of_memory"
    assert str(error) in job.error.message
    assert job.lease is None or world.resident() == set()


def refuse_for_meft(refuse):
    """Fails where an adapter's only vector is a router's."""
    make = adapters.make_vector

    def made(initial, *arguments):
        if all(name.endswith("meft_router") for name in initial):
            refuse()
        return make(initial, *arguments)

    return made


def test_a_round_ends_however_long_the_store_is_away(world: World, monkeypatch: pytest.MonkeyPatch):
    """Else the scheduler would take it to run on, and plan none after it."""
    job_id = world.submit()
    end, outages = world.store.end_round, [Unavailable("Redis is full")] * 3

    def end_round(round_id: str) -> None:
        if outages:
            raise outages.pop()
        end(round_id)

    monkeypatch.setattr(world.store, "end_round", end_round)
    world.round(job_id, seconds=3)
    assert world.store.rounds() == []
    assert len(world.rests) == 3


def test_a_round_whose_begin_is_in_doubt_is_over(world: World, monkeypatch: pytest.MonkeyPatch):
    job_id = world.submit()
    begin = world.store.begin_round

    def begins_and_breaks(*arguments: object) -> None:
        begin(*arguments)
        raise Unavailable("the connection broke")

    round_id = world.plan(job_id)
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "begin_round", begins_and_breaks)
        with pytest.raises(Unavailable):
            run_round(world.host, round_id)
    assert world.store.rounds() == []
    assert world.job(job_id).state is JobState.RUNNING


def test_a_store_that_is_away_costs_a_milestone_and_no_neighbours_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise Unavailable("Redis is full")

    with_milestones = world.submit(n_epochs=2)  # of two steps each
    other = world.submit(n_epochs=2, seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.host.publisher), "milestone", refuse)
        world.round(with_milestones, other)
    for job_id in (with_milestones, other):
        assert world.job(job_id).state is JobState.SUCCEEDED
        told = [event.data["step"] for event in world.store.events(job_id) if event.data]
        assert told == [1, 2, 3, 4]
