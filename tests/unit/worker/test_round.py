"""Rounds: jobs start, train together, come, go and finish."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from worker_world import CHECKPOINT_SECONDS, LEASE_SECONDS, TENANT, World

from pando_shared import layout
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.codec import decode
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.records import ModelRecord
from pando_worker.engine.loading import load_export
from pando_worker.residency import release_all
from pando_worker.round import run_round

METHODS = {
    "lora": LoraConfig(rank=4, dropout=0.1),
    "paca": PacaConfig(rank=4),
    "meft": MeftConfig(num_keys=32, top_k=4, num_experts=4, num_probes=2),
}


def test_jobs_of_all_methods_train_together_to_their_end(world: World):
    jobs = {name: world.submit(adapter) for name, adapter in METHODS.items()}
    world.round(*jobs.values())
    assert world.resident() == set()
    assert world.store.rounds() == []
    for name, job_id in jobs.items():
        job = world.job(job_id)
        assert job.state is JobState.SUCCEEDED
        assert job.lease is None
        assert job.finished_at is not None
        assert job.progress.step == job.progress.total_steps == 10
        assert job.progress.epoch == 5.0
        assert job.progress.train_loss is not None
        assert job.progress.first_loss is not None
        assert job.progress.trained_tokens > 0
        assert (job.round_predicted_bytes, (job.round_measured_bytes or 0) > 0) == (1 << 30, True)

        assert job.fine_tuned_model == f"ft:tiny:acme::{job_id.removeprefix('ftjob-')[:8]}"
        model = world.store.get_model(TENANT, job.fine_tuned_model)
        assert (model.job_id, model.method, model.base_model) == (job_id, name, "tiny")
        assert decode(ModelRecord, world.storage.read(layout.model_record(job_id))) == model
        folder = world.storage.local_path(model.path)
        assert load_export(world.host.engine.base, folder)
        assert model.bytes == sum(file.stat().st_size for file in folder.iterdir()) > 0
        card = (folder / "README.md").read_text()
        assert job_id in card

        kept = decode(Job, world.storage.read(layout.job_record(job_id)))
        assert kept.state is JobState.SUCCEEDED
        assert kept.fine_tuned_model == job.fine_tuned_model
        assert world.checkpoint_steps(job_id) == []


def test_events_tell_the_story(world: World):
    job_id = world.submit()
    world.round(job_id)
    said = world.messages(job_id)
    assert said[0] == "Training started on w1"
    steps = [re.fullmatch(r"Step (\d+)/10: training loss=(\d+\.\d+)", text) for text in said]
    assert [int(found[1]) for found in steps if found] == list(range(1, 11))
    assert said[-1] == "The job has successfully completed"
    assert said[-2].startswith("New fine-tuned model created: ft:tiny:acme::")
    metrics = [e for e in world.store.events(job_id) if e.type == "metrics"]
    for step, event in enumerate(metrics, start=1):
        assert event.data["step"] == step
        assert event.data["total_steps"] == 10
        for name in ("train_loss", "train_mean_token_accuracy", "learning_rate", "gradient_norm"):
            assert isinstance(event.data[name], float)


def test_a_newcomer_joins_a_running_set(world: World):
    first = world.submit(seed=1)
    world.round(first, seconds=3)
    assert world.step_of(first) == 3
    second = world.submit(PacaConfig(rank=3), seed=2)
    world.round(first, second, seconds=2)
    assert world.resident() == {first, second}
    world.round(first, second)
    assert world.job(first).state is world.job(second).state is JobState.SUCCEEDED
    assert world.messages(first).count("Training started on w1") == 1


def test_rounds_leave_no_trace_in_what_is_learnt(world: World):
    straight, chopped = world.submit(METHODS["lora"]), world.submit(METHODS["lora"])
    world.round(straight)
    for _ in range(4):
        world.round(chopped, seconds=3)
    assert world.job(chopped).state is JobState.SUCCEEDED
    assert world.exported(chopped) == world.exported(straight)


def test_a_job_that_finishes_leaves_the_others_training(world: World):
    short, long = world.submit(max_steps=2), world.submit(n_epochs=20)
    world.round(short, long, seconds=5)
    assert world.job(short).state is JobState.SUCCEEDED
    assert world.resident() == {long}
    assert world.step_of(long) == 5


def test_a_duplicate_message_does_nothing(world: World):
    job_id = world.submit()
    round_id = world.plan(job_id, seconds=2)
    run_round(world.host, round_id)
    step, said = world.job(job_id).progress.step, world.messages(job_id)
    run_round(world.host, round_id)
    assert (world.job(job_id).progress.step, world.messages(job_id)) == (step, said)


@pytest.mark.parametrize("field", ["worker_id", "incarnation"])
def test_anothers_round_does_nothing(world: World, field):
    job_id = world.submit()
    world.round(job_id, **{field: "another"})
    assert world.resident() == set()
    assert world.messages(job_id) == []
    assert len(world.store.rounds()) == 1


def test_a_seat_at_a_stale_epoch_stays_empty(world: World):
    job_id, other = world.submit(), world.submit()
    round_id = world.plan(job_id, other)
    world.place(job_id)  # elsewhere, by now
    run_round(world.host, round_id)
    assert world.job(job_id).state is JobState.RUNNING
    assert world.messages(job_id) == []
    assert world.job(other).state is JobState.SUCCEEDED


def test_a_job_not_in_the_next_round_is_given_back_whole(world: World):
    staying, leaving = world.submit(n_epochs=50), world.submit(n_epochs=50)
    world.round(staying, leaving, seconds=3)
    world.round(staying, seconds=2)
    assert world.resident() == {staying}
    assert world.job(leaving).state is JobState.RUNNING
    assert world.job(leaving).lease is None
    assert world.checkpoint_steps(leaving) == [3]
    assert world.job(leaving).progress.checkpoint_step == 3


def test_an_empty_round_empties_the_worker(world: World):
    job_id = world.submit(n_epochs=50)
    world.round(job_id, seconds=3)
    world.round()
    assert world.resident() == set()
    assert world.job(job_id).lease is None


def test_all_is_given_back_before_the_process_ends(world: World):
    jobs = [world.submit(n_epochs=50) for _ in range(2)]
    world.round(*jobs, seconds=3)
    release_all(world.host)
    assert world.resident() == set()
    for job_id in jobs:
        assert world.job(job_id).lease is None
        assert world.checkpoint_steps(job_id) == [3]


def paused(job: Job) -> Job:
    return job.to(JobState.PAUSED)


class TestInterruptions:
    """What clients do in the middle of a round; the keeper finds out, the next step heeds it."""

    def interrupt(self, world: World, at: int, change):
        def hook() -> None:
            if world.clock.now() == began + at:
                change()

        began = world.clock.now()
        world.after_step.append(hook)

    def test_pausing_checkpoints_and_gives_the_lease_back(self, world: World):
        job_id, other = world.submit(), world.submit()
        self.interrupt(world, 4, lambda: world.store.update_job(job_id, paused))
        world.round(job_id, other)
        job = world.job(job_id)
        assert job.state is JobState.PAUSED
        assert job.lease is None
        assert job.progress.checkpoint_step == job.progress.step == 5  # seen a poll later
        assert world.checkpoint_steps(job_id) == [5]
        assert world.job(other).state is JobState.SUCCEEDED

    def test_resumed_it_ends_as_if_never_paused(self, world: World):
        straight, job_id = world.submit(METHODS["lora"]), world.submit(METHODS["lora"])
        world.round(straight)
        self.interrupt(world, 4, lambda: world.store.update_job(job_id, paused))
        world.round(job_id)
        world.store.update_job(job_id, lambda job: job.to(JobState.QUEUED))
        world.place(job_id)
        world.round(job_id)
        assert "Training resumed from step 5 on w1" in world.messages(job_id)
        assert world.exported(job_id) == world.exported(straight)

    def test_paused_and_resumed_at_once_it_leaves_all_the_same(self, world: World):
        job_id = world.submit()
        self.interrupt(
            world,
            4,
            lambda: world.store.update_job(
                job_id, lambda job: job.to(JobState.PAUSED).to(JobState.QUEUED)
            ),
        )
        world.round(job_id)
        job = world.job(job_id)
        assert (job.state, job.lease) == (JobState.QUEUED, None)
        assert world.checkpoint_steps(job_id) == [5]

    def test_cancelling_drops_the_job_and_writes_nothing(self, world: World):
        job_id, other = world.submit(), world.submit()

        def cancelled(job: Job) -> Job:
            return replace(job.to(JobState.CANCELLED), epoch=job.epoch + 1)

        self.interrupt(world, 4, lambda: world.store.update_job(job_id, cancelled))
        world.round(job_id, other)
        job = world.job(job_id)
        assert job.state is JobState.CANCELLED
        assert job.progress.step < 5
        assert job.fine_tuned_model is None
        assert world.checkpoint_steps(job_id) == []
        assert world.storage.names(layout.export(job_id)) == []
        assert all(record.step < 5 for record in world.store.checkpoints(job_id))
        assert world.job(other).state is JobState.SUCCEEDED

    def test_a_job_taken_away_is_dropped_and_writes_nothing(self, world: World):
        job_id = world.submit()

        def elsewhere(job: Job) -> Job:
            return replace(job, epoch=job.epoch + 1, lease=Lease("w2", "inc", 9e9))

        self.interrupt(world, 4, lambda: world.store.update_job(job_id, elsewhere))
        world.round(job_id)
        assert world.resident() == set()
        job = world.job(job_id)
        assert job.lease == Lease("w2", "inc", 9e9)
        assert world.checkpoint_steps(job_id) == []
        assert len(world.messages(job_id)) == 5  # up to step 4

    def test_a_write_between_two_looks_is_refused_too(self, world: World):
        """The epoch changes after the keeper's last look, before the job's end."""
        job_id = world.submit()
        world.after_step.append(
            lambda: (
                world.host.engine.jobs[job_id].finished
                and world.store.update_job(job_id, lambda job: replace(job, epoch=job.epoch + 1))
            )
        )
        world.round(job_id)
        assert world.resident() == set()
        assert world.job(job_id).state is JobState.RUNNING
        assert all(":ckpt-step-" in model.name for model in world.store.list_models(TENANT))
        assert all(record.step < 10 for record in world.store.checkpoints(job_id))

    def test_pausing_at_the_very_end_loses_nothing(self, world: World):
        """Paused when the last step is done and the adapter is about to be published."""
        job_id = world.submit()
        world.after_step.append(
            lambda: (
                world.host.engine.jobs[job_id].finished
                and world.job(job_id).state is JobState.RUNNING
                and world.store.update_job(job_id, paused)
            )
        )
        world.round(job_id)
        job = world.job(job_id)
        assert (job.state, job.lease) == (JobState.PAUSED, None)
        assert world.checkpoint_steps(job_id) == [10]
        world.after_step.clear()
        world.store.update_job(job_id, lambda job: job.to(JobState.QUEUED))
        world.place(job_id)
        world.round(job_id)
        assert world.job(job_id).state is JobState.SUCCEEDED

    def test_a_request_for_text_ends_the_round_soon(self, world: World):
        job_id = world.submit(n_epochs=500)
        self.interrupt(world, 4, lambda: world.store.request_sample("w1", "s1"))
        world.round(job_id)
        assert world.resident() == {job_id}
        assert world.step_of(job_id) < 10

    def test_a_process_asked_to_end_ends_its_round_soon(self, world: World):
        job_id = world.submit(n_epochs=500)
        world.host.stopping = lambda: True
        world.round(job_id)
        assert world.step_of(job_id) < 10


class TestCheckpoints:
    def test_they_are_made_when_due(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.round(job_id, seconds=2 * CHECKPOINT_SECONDS + 10)
        assert world.checkpoint_steps(job_id) == [60, 120]
        assert world.job(job_id).progress.checkpoint_step == 120

    def test_steps_that_will_not_be_done_again_are_told_first(self, world: World):
        job_id = world.submit(n_epochs=101)  # so that no milestone tells them
        world.round(job_id, seconds=CHECKPOINT_SECONDS)
        (kept,) = world.checkpoint_steps(job_id)
        assert any(said.startswith(f"Step {kept}/") for said in world.messages(job_id))

    def test_the_two_newest_are_kept(self, world: World):
        job_id = world.submit(n_epochs=150)
        world.round(job_id, seconds=4 * CHECKPOINT_SECONDS + 10)
        assert world.checkpoint_steps(job_id) == [180, 240]

    def test_durable_progress_clears_the_lost_attempts(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.store.update_job(job_id, lambda job: replace(job, attempts=2))
        world.round(job_id, seconds=CHECKPOINT_SECONDS - 10)
        assert world.job(job_id).attempts == 2
        world.round(job_id, seconds=20)
        assert world.job(job_id).attempts == 0

    @pytest.mark.parametrize("method", METHODS)
    def test_killed_at_any_time_the_end_is_the_same_to_the_bit(self, world: World, method):
        straight = world.submit(METHODS[method], n_epochs=16)
        world.round(straight)
        killed = world.submit(METHODS[method], n_epochs=16)
        world.settings.checkpoint_seconds = 3.0
        for life, seconds in enumerate((1, 5, 4, 2, 9, 11, 7, 100)):
            world.start_worker()
            if life:
                world.place(killed)
            world.round(killed, seconds=seconds)
        assert world.job(killed).state is JobState.SUCCEEDED
        assert world.exported(killed) == world.exported(straight)

    def test_a_truncated_one_is_passed_over(self, world: World):
        straight = world.submit(n_epochs=100, max_steps=130)
        world.round(straight)
        job_id = world.submit(n_epochs=100, max_steps=130)
        world.round(job_id, seconds=125)
        self.damage(world, job_id, 120)
        world.start_worker()
        world.place(job_id)
        world.round(job_id)
        assert "Training resumed from step 60 on w1" in world.messages(job_id)
        assert world.exported(job_id) == world.exported(straight)

    def test_with_none_that_is_whole_the_job_starts_again_and_says_so(self, world: World):
        straight = world.submit(n_epochs=100, max_steps=130)
        world.round(straight)
        job_id = world.submit(n_epochs=100, max_steps=130)
        world.round(job_id, seconds=125)
        for step in (60, 120):
            self.damage(world, job_id, step)
        world.start_worker()
        world.place(job_id)
        world.round(job_id, seconds=65)
        told = world.messages(job_id)
        (warning,) = [text for text in told if text.startswith("Done again in part")]
        assert "step-00000120" in warning
        assert told.count("Training started on w1") == 2
        assert "Training resumed" not in " ".join(told)
        # What is written from now on counts as the newest, though its step is lower.
        world.start_worker()
        world.place(job_id)
        world.round(job_id)
        assert "Training resumed from step 60 on w1" in world.messages(job_id)
        assert world.exported(job_id) == world.exported(straight)

    def damage(self, world: World, job_id: str, step: int) -> None:
        folder = world.storage.local_path(world.checkpoint(job_id, step))
        assert folder is not None
        state = folder / "state.safetensors"
        state.write_bytes(state.read_bytes()[:-100])


class TestValidation:
    def test_losses_are_told_and_kept(self, world: World):
        job_id = world.submit(valid=True)
        world.round(job_id)
        told = [m for m in world.messages(job_id) if "validation loss" in m]
        assert [text.split(":")[0] for text in told] == [f"Step {n}/10" for n in range(1, 11)]
        progress = world.job(job_id).progress
        assert progress.valid_loss is not None
        assert progress.best_valid_loss is not None
        assert progress.best_valid_loss <= progress.valid_loss

    def test_patience_ends_the_job_with_success(self, world: World):
        job_id = world.submit(
            valid=True, n_epochs=50, learning_rate=0.05, early_stopping_patience=1
        )
        world.round(job_id)
        job = world.job(job_id)
        assert job.state is JobState.SUCCEEDED
        assert job.progress.step < 100
        assert any(m.startswith("Stopped early at step") for m in world.messages(job_id))


def test_every_epoch_leaves_a_checkpoint_to_try(world: World):
    job_id = world.submit(n_epochs=3)
    world.round(job_id)
    records = world.store.checkpoints(job_id)
    assert [record.step for record in records] == [6, 4, 2]
    for record in records:
        assert record.model.endswith(f":ckpt-step-{record.step}")
        model = world.store.get_model(TENANT, record.model)
        folder = world.storage.local_path(model.path)
        assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
        assert record.metrics["train_loss"] > 0


def test_leases_are_renewed_through_a_long_round(world: World):
    job_id = world.submit(n_epochs=100)
    left: list[float] = []
    world.after_step.append(lambda: left.append(world.job(job_id).lease.expires_at))
    world.round(job_id, seconds=100)
    started = world.clock.now() - 100
    for second, expires in enumerate(left, start=1):
        assert expires - (started + second) > LEASE_SECONDS / 2


def test_the_gap_between_rounds_is_measured(world: World):
    job_id = world.submit(n_epochs=100)
    world.round(job_id, seconds=3)
    world.clock.advance(0.25)
    world.round(job_id, seconds=3)
    assert world.host.worker.round_gap_seconds == pytest.approx(0.25)


class TestClockJumps:
    """In the middle of a round the clock is set: nothing stalls, and nobody learns from it."""

    def jumping(self, world: World, seconds: float) -> None:
        began = world.clock.now()

        def hook() -> None:
            if world.clock.now() == began + 4:
                world.clock.jump(seconds)

        world.after_step.append(hook)

    @pytest.mark.parametrize("seconds", [7200.0, -7200.0])
    def test_the_round_ends_and_the_next_goes_on(self, world: World, seconds):
        straight, job_id = world.submit(), world.submit()
        world.round(straight)
        world.store.take_reports()
        self.jumping(world, seconds)
        world.round(job_id, seconds=100)
        assert world.store.rounds() == []
        assert world.step_of(job_id) == 4
        (told,) = world.store.take_reports()
        assert told.seconds == 0.0
        world.after_step.clear()
        world.round(job_id)
        assert world.job(job_id).state is JobState.SUCCEEDED
        assert world.exported(job_id) == world.exported(straight)

    def test_the_speed_stays_what_it_was_known_to_be(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.round(job_id, seconds=5)
        known = world.host.worker.tokens_per_second
        assert known > 0
        self.jumping(world, 7200.0)
        world.round(job_id, seconds=100)
        assert world.host.worker.tokens_per_second == known

    def test_set_back_it_puts_off_no_checkpoint(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.round(job_id, seconds=5)
        world.clock.jump(-7200.0)
        world.round(job_id, seconds=5)
        assert world.job(job_id).progress.checkpoint_step > 0

    def test_a_long_lease_after_it_was_set_back_is_put_right(self, world: World):
        job_id = world.submit(n_epochs=100)
        world.round(job_id, seconds=5)
        world.clock.jump(-7200.0)
        world.host.keeper.tick()
        assert world.job(job_id).lease.expires_at == world.clock.now() + LEASE_SECONDS
