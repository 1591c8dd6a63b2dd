"""What a job says of itself: losses, speed, when it will end."""

from __future__ import annotations

import pytest

from pando_shared.jobs import Progress
from pando_worker.engine.engine import StepReport, Validation
from pando_worker.progress_log import ProgressLog


def report(step: int, total: int = 100, loss: float = 2.0, tokens: int = 50) -> StepReport:
    return StepReport("j", step, total, step / 10, loss, 0.25, 1e-3, 0.7, tokens)


def started(step: int = 0, total: int = 100, now: float = 0.0) -> ProgressLog:
    log = ProgressLog(Progress(step=step, total_steps=total))
    log.started(now)
    return log


def test_a_step_is_told_as_people_expect_it():
    (event,) = started().step(report(10, loss=0.48), 1.0)
    assert event.message == "Step 10/100: training loss=0.4800"
    assert event.type == "metrics"
    assert event.data["train_loss"] == 0.48
    assert event.data["train_mean_token_accuracy"] == 0.25
    assert event.data["learning_rate"] == 1e-3


def test_progress_keeps_the_first_loss():
    log = started()
    for step in (1, 2, 3):
        log.step(report(step, loss=4.0 - step), float(step))
    assert (log.progress.first_loss, log.progress.train_loss) == (3.0, 1.0)
    assert log.progress.trained_tokens == 150
    assert log.progress.step == 3


def test_long_jobs_thin_their_events_and_never_miss_the_last():
    log, told = started(total=5500), []
    for step in range(1, 5501):
        told += [event.data["step"] for event in log.step(report(step, 5500), float(step))]
    assert told == [*range(6, 5500, 6), 5500]


def test_speed_is_that_of_the_last_seconds():
    log = started()
    for second in range(1, 31):
        log.step(report(second, tokens=10), float(second))
    assert log.progress.tokens_per_second == pytest.approx(10.0)
    for second in range(31, 61):
        log.step(report(second, tokens=40), float(second))
    assert log.progress.tokens_per_second == pytest.approx(40.0)


def test_time_between_rounds_does_not_count():
    log = started()
    log.step(report(1, tokens=10), 1.0)
    log.started(1000.0)
    log.step(report(2, tokens=10), 1001.0)
    assert log.progress.tokens_per_second == pytest.approx(10.0)
    assert log.estimated_finish(1001.0) == pytest.approx(1001.0 + 98)


def test_a_clock_that_stands_still_divides_nothing_by_zero():
    log = started()
    log.step(report(1), 0.0)
    assert log.progress.tokens_per_second == 0.0
    assert log.estimated_finish(0.0) is None


def test_there_is_no_estimate_before_the_first_step():
    assert started().estimated_finish(5.0) is None


def test_a_resumed_job_estimates_by_its_new_steps():
    log = started(step=50)
    for i in range(1, 6):
        log.step(report(50 + i), 2.0 * i)
    assert log.estimated_finish(10.0) == pytest.approx(10.0 + 45 * 2)


def test_the_best_validation_is_remembered():
    log = started()
    log.step(report(5), 1.0)
    for loss, best in ((3.0, 3.0), (2.0, 2.0), (2.5, 2.0)):
        (event,) = log.validated(Validation(loss, 0.5, True), 1.0)
        assert (log.progress.valid_loss, log.progress.best_valid_loss) == (loss, best)
    assert event.message == "Step 5/100: validation loss=2.5000"
    assert event.data["valid_mean_token_accuracy"] == 0.5


def test_a_validated_step_tells_its_training_loss_although_others_are_thinned_out():
    log = started(total=5500)
    assert log.step(report(549, 5500), 1.0) == []
    assert log.step(report(550, 5500, loss=1.5), 2.0) == []
    train, valid = log.validated(Validation(3.0, 0.5, True), 3.0)
    assert (train.data["step"], train.data["train_loss"]) == (550, 1.5)
    assert (valid.data["step"], valid.data["valid_loss"]) == (550, 3.0)
    assert len(log.step(report(552, 5500), 4.0)) == 1
    assert len(log.validated(Validation(3.0, 0.5, True), 5.0)) == 1
