"""A job that must give its place up: by a durable checkpoint, at the next step, losing nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worker_world import World

from pando_shared import layout
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.jobs import Job, JobState, Yield, YieldCause

METHODS = {
    "lora": LoraConfig(rank=4, dropout=0.1),
    "paca": PacaConfig(rank=4),
    "meft": MeftConfig(num_keys=32, top_k=4, num_experts=4, num_probes=2),
}
PREEMPTED = Yield(YieldCause.PRIORITY, "ftjob-urgent waits")


def told_to_yield(job: Job) -> Job:
    return replace(job, yielding=PREEMPTED)


def told_at(world: World, job_id: str, step: int) -> None:
    """Have the job told in the middle of a round, once it has done so many steps."""

    def hook() -> None:
        engine = world.host.engine
        there = engine is not None and job_id in engine.jobs
        if there and world.step_of(job_id) == step and world.job(job_id).yielding is None:
            world.store.update_job(job_id, told_to_yield)

    world.after_step.append(hook)


def requeued(job: Job) -> Job:
    """As the scheduler does with a job that was given back."""
    return replace(job.to(JobState.QUEUED), yielding=None, epoch=job.epoch + 1)


@pytest.mark.parametrize("method", METHODS)
def test_preempted_it_ends_with_the_bytes_it_would_have_had(world: World, method: str) -> None:
    straight, job_id = world.submit(METHODS[method]), world.submit(METHODS[method])
    world.round(straight)
    told_at(world, job_id, 4)
    world.round(job_id)
    job = world.job(job_id)
    # Seen a poll later; it is still to be queued again, which is the scheduler's to do.
    assert (job.state, job.lease, job.yielding) == (JobState.RUNNING, None, PREEMPTED)
    assert job.progress.checkpoint_step == job.progress.step == 5
    assert world.checkpoint_steps(job_id) == [5]
    world.after_step.clear()
    world.store.update_job(job_id, requeued)
    world.place(job_id)
    world.round(job_id)
    assert world.job(job_id).state is JobState.SUCCEEDED
    assert "Training resumed from step 5 on w1" in world.messages(job_id)
    assert world.exported(job_id) == world.exported(straight)


def test_its_neighbours_train_on(world: World) -> None:
    job_id, other = world.submit(), world.submit(seed=2, n_epochs=20)
    told_at(world, job_id, 4)
    world.round(job_id, other, seconds=9)
    assert world.resident() == {other}
    assert world.step_of(other) == 9
    assert world.checkpoint_steps(job_id) == [5]


def test_the_lease_is_given_back_only_once_the_checkpoint_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.submit()
    told_at(world, job_id, 3)
    seen: list[tuple[bool, list[str]]] = []
    update = world.store.update_job

    def noted(name: str, change) -> Job:
        found = update(name, change)
        kept = world.storage.names(layout.checkpoints(job_id))
        seen.append((found.lease is not None, kept))
        return found

    monkeypatch.setattr(world.store, "update_job", noted)
    world.round(job_id)
    assert seen[-1][0] is False
    assert all(kept for held, kept in seen if not held)
    assert any(held and not kept for held, kept in seen)


def test_told_at_its_very_end_it_is_simply_done(world: World) -> None:
    job_id = world.submit()
    told_at(world, job_id, 10)
    world.host.keeper.tick()
    world.after_step.append(world.host.keeper.tick)
    world.round(job_id)
    job = world.job(job_id)
    assert (job.state, job.yielding, job.lease) == (JobState.SUCCEEDED, None, None)


def test_a_round_of_other_jobs_is_not_kept_waiting(world: World) -> None:
    """The next round lacks one of those here: the one that runs ends soon, and that one leaves."""
    staying, leaving = world.submit(n_epochs=500), world.submit(n_epochs=500)
    began = world.clock.now()

    def hook() -> None:
        if world.clock.now() == began + 4:
            world.plan(staying)

    world.after_step.append(hook)
    world.round(staying, leaving)
    assert world.step_of(staying) <= 6
    (planned,) = world.store.rounds()
    world.after_step.clear()
    world.round(staying, seconds=2)
    assert world.resident() == {staying}
    assert world.job(leaving).lease is None
    assert planned.started_at is None


def test_shares_are_those_of_the_round(world: World) -> None:
    """Microbatches of 16 tokens take one job's sequence each, so turns show."""
    first, second = world.submit(n_epochs=500), world.submit(n_epochs=500, seed=2)
    world.host.use_base("tiny").token_budget = 16
    world.round(first, second, seconds=400, shares={first: 3.0, second: 1.0})
    engine = world.host.engine
    assert engine is not None
    assert engine.shares == {first: 3.0, second: 1.0}
    tokens = [engine.jobs[job_id].trained_tokens for job_id in (first, second)]
    assert tokens[0] / tokens[1] == pytest.approx(3.0, rel=0.1)
    world.round(first, second, seconds=1)
    assert engine.shares == {}
