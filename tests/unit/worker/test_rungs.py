"""The rungs of a sweep's trial: validated, recorded once, and not lost with a worker."""

from __future__ import annotations

import math

import pytest
from worker_world import World

from pando_shared.codec import decode, encode
from pando_shared.jobs import HalvingRule, JobState, Progress
from pando_shared.rungs import WORST_LOSS, rung_loss, rung_steps, shown_loss
from pando_worker.engine.engine import Engine, StepReport, Validation
from pando_worker.progress_log import ProgressLog

#: The rungs of ten steps.
RULE = HalvingRule(2, 2)
RUNGS = (3, 5)


def log_at(step: int, *losses: float, rungs: tuple[int, ...] = RUNGS) -> ProgressLog:
    log = ProgressLog(Progress(step=step, total_steps=10, rung_losses=losses), rungs=rungs)
    log.started(0.0)
    return log


def after_step(log: ProgressLog, step: int, loss: float = 2.0) -> tuple[float, ...]:
    """The rungs' losses after a step, which is validated if a rung asks for it."""
    log.step(StepReport("j", step, 10, step / 2, 3.0, 0.25, 1e-3, 0.7, 50), float(step))
    if log.at_rung:
        log.validated(Validation(loss, 0.5, True), float(step))
    return log.progress.rung_losses


def test_each_rung_has_its_loss() -> None:
    log, found = log_at(0), []
    for step in range(1, 11):
        found.append(after_step(log, step, loss=10.0 - step))
    assert found == [()] * 2 + [(7.0,)] * 2 + [(7.0, 5.0)] * 6


def test_a_validation_between_rungs_is_no_rung() -> None:
    log = log_at(3, 2.0)
    assert after_step(log, 4) == (2.0,)
    log.validated(Validation(1.0, 0.5, True), 4.0)
    assert log.progress.rung_losses == (2.0,)


def test_a_rung_passed_again_is_validated_and_keeps_its_loss() -> None:
    log = log_at(2, 2.0, 1.5)
    assert not log.at_rung
    assert after_step(log, 3, loss=2.5) == (2.0, 1.5)
    assert log.progress.valid_loss == 2.5


def test_a_rung_whose_loss_got_lost_is_made_up_for() -> None:
    assert after_step(log_at(3), 4, loss=1.75) == (1.75,)
    assert after_step(log_at(7), 8, loss=1.75) == (1.75, 1.75)
    assert after_step(log_at(7, 2.0), 8, loss=1.75) == (2.0, 1.75)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_no_number_survives_the_way_to_the_store(loss: float) -> None:
    log = log_at(2)
    assert after_step(log, 3, loss=loss) == (WORST_LOSS,)
    kept = Progress(rung_losses=log.progress.rung_losses)
    assert decode(Progress, encode(kept)) == kept
    assert shown_loss(rung_loss(loss)) is None
    assert shown_loss(rung_loss(2.5)) == 2.5


def test_jobs_of_no_sweep_have_no_rungs() -> None:
    log = log_at(0, rungs=())
    assert after_step(log, 5) == ()
    assert not log.at_rung


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which jobs of the worker are validated."""
    steps: list[int] = []
    validate = Engine.validate

    def noted(engine: Engine, job_id: str) -> Validation:
        steps.append(engine.jobs[job_id].step)
        return validate(engine, job_id)

    monkeypatch.setattr(Engine, "validate", noted)
    return steps


def test_a_trial_is_validated_at_its_rungs_and_trains_on(
    world: World, validated: list[int]
) -> None:
    trial = world.submit(valid=True, halving=RULE, n_epochs=1, max_steps=10, batch_size=1, count=10)
    assert rung_steps(10, RULE) == RUNGS
    world.round(trial)
    job = world.job(trial)
    assert job.state is JobState.SUCCEEDED
    assert validated == list(range(1, 11))
    losses = {
        event.data["step"]: event.data["valid_loss"]
        for event in world.store.events(trial)
        if "valid_loss" in event.data
    }
    assert job.progress.rung_losses == (losses[3], losses[5])


def test_a_rung_between_two_validations_is_one_more(world: World, validated: list[int]) -> None:
    """Thirty steps are validated after every third; the first rung lies between."""
    assert rung_steps(30, RULE) == (8, 15)
    trial = world.submit(valid=True, halving=RULE, n_epochs=2, batch_size=1, count=15)
    world.round(trial)
    assert validated == sorted({*range(3, 31, 3), 8})
    assert len(world.job(trial).progress.rung_losses) == 2


def test_an_interruption_leaves_the_rungs_as_they_would_have_been(
    world: World, validated: list[int]
) -> None:
    rule = HalvingRule(6, 2)
    assert rung_steps(30, rule) == (1, 5)
    shape = {"valid": True, "halving": rule, "n_epochs": 2, "batch_size": 1, "count": 15}
    whole = world.submit(seed=3, **shape)
    world.round(whole)
    validated.clear()

    trial = world.submit(seed=3, **shape)
    world.round(trial, seconds=4)
    world.store.update_job(trial, lambda job: job.to(JobState.QUEUED))
    world.host.keeper.tick()
    world.round(seconds=1)  # nobody is to stay: the trial leaves by a checkpoint
    assert world.checkpoint_steps(trial) == [4]
    first = world.job(trial).progress.rung_losses
    assert len(first) == 1

    world.place(trial)
    world.round(trial, seconds=3)
    assert len(world.job(trial).progress.rung_losses) in (1, 2)
    world.start_worker()  # killed: steps 5 to 7 are lost, what was said of them may not be
    world.place(trial)
    world.round(trial)
    assert world.job(trial).progress.rung_losses == world.job(whole).progress.rung_losses
    assert validated.count(5) == 2
