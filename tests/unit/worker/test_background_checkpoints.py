"""Checkpoints that are still in writing while training goes on, jobs leave, or all is lost."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest
from adapter_tensors import fill_weights
from safetensors.torch import load_file
from worker_world import CHECKPOINT_SECONDS, World

from pando_shared.adapters import LoraConfig
from pando_shared.errors import Unavailable
from pando_shared.jobs import Job, JobState
from pando_worker.checkpoint_writer import CheckpointWriter
from pando_worker.engine.checkpoint import training_state
from pando_worker.residency import release_all

LORA = LoraConfig(rank=4, dropout=0.1)
DUE = int(CHECKPOINT_SECONDS)


@pytest.fixture
def slow(world: World) -> World:
    """A world whose checkpoints are written when it is told so, or when somebody waits."""
    world.background.postpones = True
    return world


def at_step(world: World, job_id: str, step: int, do: Callable[[], object]) -> None:
    """Do something right after a job's step."""

    def hook() -> None:
        resident = world.host.engine.jobs.get(job_id)
        if resident is not None and resident.step == step:
            do()

    world.after_step.append(hook)


def elsewhere(job: Job) -> Job:
    return replace(job, epoch=job.epoch + 1)


def spoil(world: World, job_id: str) -> None:
    fill_weights(world.host.engine.jobs[job_id].adapter, float("nan"))


def paused(job: Job) -> Job:
    return job.to(JobState.PAUSED)


def away(*_: object) -> None:
    raise Unavailable("the store is away")


class TestTrainingGoesOn:
    def test_what_is_kept_is_the_state_when_it_was_due(self, slow: World):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE)
        expected = {
            name: tensor.clone()
            for name, tensor in training_state(slow.host.engine.jobs[job_id]).tensors.items()
        }
        slow.round(job_id, seconds=20)
        assert slow.checkpoint_steps(job_id) == []
        assert slow.job(job_id).progress.checkpoint_step == 0
        assert slow.step_of(job_id) == DUE + 20

        slow.background.run()
        assert slow.checkpoint_steps(job_id) == [DUE]
        folder = slow.storage.local_path(slow.checkpoint(job_id, DUE))
        kept = load_file(folder / "state.safetensors")
        assert kept.keys() == expected.keys()
        assert all(kept[name].equal(tensor) for name, tensor in expected.items())

    def test_what_the_store_knows_does_not_go_back(self, slow: World):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE + 20)
        before = slow.job(job_id).progress
        assert before.step > DUE
        slow.background.run()
        assert slow.job(job_id).progress == replace(before, checkpoint_step=DUE)

    def test_another_begins_when_the_one_before_is_through(self, slow: World):
        job_id = slow.submit(n_epochs=150)
        slow.round(job_id, seconds=2 * DUE + 5)
        assert slow.background.waiting == len(slow.background.errands) == 1
        slow.background.run()
        slow.round(job_id, seconds=1)
        assert slow.background.waiting == 1
        slow.background.run()
        assert slow.checkpoint_steps(job_id) == [DUE, 2 * DUE + 6]

    def test_jobs_take_turns_by_how_long_they_have_been_due(self, slow: World):
        jobs = [slow.submit(n_epochs=150, seed=seed) for seed in range(3)]
        slow.round(*jobs, seconds=DUE)
        kept: list[str] = []
        for _ in range(6):
            before = {name: slow.job(name).progress.checkpoint_step for name in jobs}
            slow.background.run()
            kept += [
                name for name in jobs if slow.job(name).progress.checkpoint_step > before[name]
            ]
            slow.round(*jobs, seconds=CHECKPOINT_SECONDS / 3)
        assert sorted(kept[:3]) == sorted(jobs)
        assert kept[3:] == kept[:3]

    def test_a_job_without_a_new_step_is_not_kept_again(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.round(job_id, seconds=DUE)
        # Validations, text and other jobs may take long.
        world.host.engine.token_budget = 16  # so that a microbatch is less than a step
        world.clock.advance(CHECKPOINT_SECONDS)
        world.round(job_id, seconds=1)
        assert world.step_of(job_id) == DUE
        assert len(world.background.errands) == 1

    def test_steps_that_will_not_be_done_again_are_told_first(self, slow: World, monkeypatch):
        job_id = slow.submit(n_epochs=101)
        monkeypatch.setattr(slow.host.keeper, "tick", lambda: None)  # nobody else tells them
        slow.round(job_id, seconds=DUE + 5)
        upload = slow.storage.upload_folder
        told: list[bool] = []

        def last_step_is_told() -> bool:
            return any(said.startswith(f"Step {DUE}/") for said in slow.messages(job_id))

        def uploading(local, path):
            told.append(last_step_is_told())
            upload(local, path)

        monkeypatch.setattr(slow.storage, "upload_folder", uploading)
        assert not last_step_is_told()
        slow.background.run()
        assert told == [True]

    def test_a_full_disk_is_told_and_training_goes_on(self, slow: World, monkeypatch):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(slow.storage, "upload_folder", full)
            slow.background.run()
        slow.round(job_id, seconds=5)
        (warning,) = slow.messages(job_id, "warn")
        assert "No space left on device" in warning
        assert "training goes on" in warning
        assert slow.resident() == {job_id}
        slow.round(job_id, seconds=DUE)
        slow.background.run()
        assert slow.checkpoint_steps(job_id) == [2 * DUE]

    def test_a_store_that_is_away_ends_the_round_and_no_job(self, slow: World, monkeypatch):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE)

        with monkeypatch.context() as patch:
            patch.setattr(slow.host.publisher.__class__, "checkpoint", away)
            slow.background.run()
        with pytest.raises(Unavailable):
            slow.round(job_id)
        assert slow.resident() == {job_id}
        slow.round(job_id)
        assert slow.job(job_id).state is JobState.SUCCEEDED


class TestLeaving:
    def test_released_the_later_state_is_the_last(self, slow: World):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE + 10)
        assert slow.checkpoint_steps(job_id) == []
        slow.round()
        assert slow.checkpoint_steps(job_id) == [DUE, DUE + 10]
        job = slow.job(job_id)
        assert (job.progress.checkpoint_step, job.progress.step) == (DUE + 10, DUE + 10)
        assert job.lease is None
        assert slow.background.waiting == 0

    def test_paused_likewise(self, slow: World):
        job_id = slow.submit(n_epochs=100)
        at_step(slow, job_id, DUE + 10, lambda: slow.store.update_job(job_id, paused))
        slow.round(job_id)
        assert slow.job(job_id).state is JobState.PAUSED
        assert slow.checkpoint_steps(job_id) == [DUE, DUE + 11]
        assert slow.job(job_id).progress.checkpoint_step == DUE + 11

    def test_before_the_process_ends_likewise(self, slow: World):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE + 10)
        release_all(slow.host)
        assert slow.checkpoint_steps(job_id) == [DUE, DUE + 10]

    def test_released_the_disk_being_full_the_one_in_writing_counts(self, slow: World, monkeypatch):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE + 10)
        upload, taken = slow.storage.upload_folder, []

        def once(local, path):
            if taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken.append(path)
            upload(local, path)

        with monkeypatch.context() as patch:
            patch.setattr(slow.storage, "upload_folder", once)
            slow.round()
        job = slow.job(job_id)
        assert (job.lease, job.progress.checkpoint_step) == (None, DUE)
        assert slow.resident() == set()

    def test_finished_nothing_is_written_behind_its_back(self, slow: World):
        job_id = slow.submit(n_epochs=100, max_steps=DUE + 10)
        slow.round(job_id)
        assert slow.job(job_id).state is JobState.SUCCEEDED
        assert slow.background.waiting == 0
        assert len(slow.background.errands) == 1
        assert slow.checkpoint_steps(job_id) == []

    def test_failed_likewise(self, slow: World):
        job_id, other = slow.submit(n_epochs=100), slow.submit(n_epochs=35)

        at_step(slow, other, DUE + 5, lambda: spoil(slow, job_id))
        slow.round(job_id, other)
        assert slow.job(job_id).state is JobState.FAILED
        assert slow.job(job_id).progress.checkpoint_step == DUE
        assert slow.job(other).state is JobState.SUCCEEDED
        assert slow.background.waiting == 0


class TestTakenAway:
    def test_a_stale_epoch_found_in_the_background_loses_the_job(self, slow: World, monkeypatch):
        job_id, other = slow.submit(n_epochs=100), slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE)
        monkeypatch.setattr(slow.host.keeper, "tick", lambda: None)  # the keeper finds nothing out
        slow.store.update_job(job_id, elsewhere)
        slow.background.run()
        assert slow.resident() == {job_id}
        lost = slow.host.tenancies[job_id].epoch
        slow.round(other, seconds=1)  # the round in which the job is due to leave
        assert slow.resident() == {other}
        assert slow.job(job_id).epoch == lost + 1
        assert slow.job(job_id).progress.checkpoint_step == 0
        assert slow.checkpoint_steps(job_id) == []

    def test_in_the_middle_of_a_round_too(self, slow: World):
        job_id, other = slow.submit(n_epochs=100), slow.submit(n_epochs=40)

        def taken() -> None:
            slow.host.keeper.verdicts = dict  # the keeper finds nothing out
            slow.store.update_job(job_id, elsewhere)
            slow.background.run()

        at_step(slow, other, DUE + 1, taken)
        slow.round(job_id, other)
        assert slow.job(job_id).state is JobState.RUNNING
        assert slow.checkpoint_steps(job_id) == []
        assert slow.job(other).state is JobState.SUCCEEDED
        assert slow.resident() == set()

    def test_while_a_neighbour_fails_too(self, slow: World):
        """Both are found out after the same step; one must not be in the other's way."""
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=30)
        fails, other = slow.submit(n_epochs=100), slow.submit(n_epochs=40)

        def taken() -> None:
            slow.host.keeper.verdicts = dict  # the keeper finds nothing out
            slow.store.update_job(job_id, elsewhere)
            slow.background.run()

        at_step(slow, job_id, DUE + 4, lambda: spoil(slow, fails))
        at_step(slow, job_id, DUE + 5, taken)
        slow.round(job_id, fails, other)
        assert slow.job(fails).state is JobState.FAILED
        assert slow.job(job_id).state is JobState.RUNNING
        assert slow.job(other).state is JobState.SUCCEEDED
        assert slow.resident() == set()

    def test_the_epoch_changes_while_it_is_written(self, slow: World, monkeypatch):
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE)
        upload = slow.storage.upload_folder

        def uploading(local, path):
            upload(local, path)
            slow.store.update_job(job_id, elsewhere)

        with monkeypatch.context() as patch:
            patch.setattr(slow.storage, "upload_folder", uploading)
            slow.background.run()
        assert slow.job(job_id).progress.checkpoint_step == 0
        slow.round()
        assert slow.resident() == set()

    def test_what_became_of_a_stay_before_says_nothing_of_this_one(self, slow: World):
        """Taken away and given back while its checkpoint is written; that one is refused."""
        job_id = slow.submit(n_epochs=100)
        slow.round(job_id, seconds=DUE + 5)
        slow.place(job_id)
        slow.round(job_id, seconds=3)
        assert slow.background.waiting == 0
        assert slow.resident() == {job_id}
        assert slow.step_of(job_id) == 3
        assert slow.checkpoint_steps(job_id) == []

    def test_once_the_job_has_left_nobody_minds_how_it_ends(self, slow: World, monkeypatch):
        job_id, other = slow.submit(n_epochs=100), slow.submit(n_epochs=40)
        slow.round(job_id, seconds=DUE)
        at_step(slow, job_id, DUE + 2, lambda: slow.store.update_job(job_id, elsewhere))
        slow.round(job_id, other, seconds=5)
        assert slow.resident() == {other}
        assert slow.background.waiting == 1
        with monkeypatch.context() as patch:
            patch.setattr(slow.host.publisher.__class__, "checkpoint", away)
            slow.background.run()
        slow.round(other)
        assert slow.job(other).state is JobState.SUCCEEDED

    def test_a_neighbour_that_leaves_waits_for_nobody(self, slow: World):
        staying, leaving = slow.submit(n_epochs=100), slow.submit(n_epochs=100)
        slow.round(staying, seconds=30)
        slow.round(staying, leaving, seconds=DUE - 30)
        slow.round(staying, seconds=1)
        assert slow.background.waiting == 1
        assert slow.checkpoint_steps(leaving) == [DUE - 30]


class TestKilled:
    def test_the_one_before_is_gone_on_from(self, slow: World, monkeypatch):
        straight, job_id = (slow.submit(LORA, n_epochs=80) for _ in range(2))
        slow.round(straight)
        slow.round(job_id, seconds=DUE)
        slow.background.run()
        slow.round(job_id, seconds=DUE + 5)
        assert slow.background.waiting == 1

        def killed(_: object, path: str) -> None:
            folder = slow.storage.local_path(f"{path}.0123abcd.partial")
            folder.mkdir(parents=True)
            (folder / "state.safetensors").write_bytes(b"half of it")
            raise KeyboardInterrupt  # as if there were no more of this process

        with monkeypatch.context() as patch:
            patch.setattr(slow.storage, "upload_folder", killed)
            with pytest.raises(KeyboardInterrupt):
                slow.background.run()
        slow.start_worker()
        slow.place(job_id)
        slow.round(job_id)
        assert f"Training resumed from step {DUE} on w1" in slow.messages(job_id)
        assert slow.exported(job_id) == slow.exported(straight)


def test_in_a_thread_the_end_is_the_same_to_the_bit(world: World):
    """However far the writer has come: its thread runs free."""
    straight, job_id, other = (world.submit(LORA, n_epochs=30) for _ in range(3))
    world.round(straight)
    world.settings.checkpoint_seconds = 1.0
    for seconds in (7, 11, 1e6):
        world.start_worker()
        world.host.writer = CheckpointWriter()
        world.place(job_id)
        world.round(job_id, seconds=seconds)
        if seconds < 1e6:
            world.round()
    assert world.exported(job_id) == world.exported(straight)
    world.round(other)
    assert world.exported(other) == world.exported(straight)
    assert world.checkpoint_steps(job_id) == world.checkpoint_steps(other) == []
