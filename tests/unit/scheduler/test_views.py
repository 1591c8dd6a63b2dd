"""From the store's records to what the policy sees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job, make_worker
from scheduling import ByHand

from pando_scheduler.views import kind_of, step_tokens, tokens_left, view_job, view_worker
from pando_shared.jobs import DatasetSummary, Job, JobState, Lease, Progress, Yield, YieldCause
from pando_shared.training import TrainingConfig

NOW = EPOCH_START + 1000
DATA = DatasetSummary("chat", examples=100, tokens=5000, target_tokens=2000, longest=90)


def prepared(**fields: object) -> Job:
    """100 sequences of 50 tokens, 4 a step, 25 steps an epoch, two epochs."""
    job = make_job(training_data=DATA, training=TrainingConfig(n_epochs=2, batch_size=4))
    return replace(job, progress=Progress(total_steps=50), **fields)  # type: ignore[arg-type]


def test_time_left_follows_from_what_is_left_to_train() -> None:
    job = prepared()
    assert step_tokens(job) == 200
    assert tokens_left(job) == 10_000
    half = replace(job, progress=replace(job.progress, step=25))
    assert tokens_left(half) == 5_000
    view = view_job(half, kind_of(make_worker()), ByHand(), {}, NOW, 1)
    assert view.seconds_left == pytest.approx(50.0)  # a hundredth of a second a token
    assert view.size.longest == 90


def test_waiting_counts_on_over_stays() -> None:
    first = prepared(queued_at=NOW - 10)
    again = replace(first, waited_seconds=300.0)
    kind = kind_of(make_worker())
    assert view_job(first, kind, ByHand(), {}, NOW, 1).queued_at == NOW - 10
    assert view_job(again, kind, ByHand(), {}, NOW, 1).queued_at == NOW - 310
    lease = Lease("w1", "w1-first", NOW + 9)
    placed = replace(again, state=JobState.RUNNING, lease=lease, placed_at=NOW - 5)
    # While it trains it does not wait: what it has waited is told from when it was placed.
    assert view_job(placed, kind, ByHand(), {}, NOW, 1).queued_at == NOW - 305


def test_suspects_train_alone_and_avoid_where_they_were_lost_if_they_can() -> None:
    workers = {name: view_worker(make_worker(name), draining=False) for name in ("w1", "w2")}
    kind = workers["w1"].kind
    lost = prepared(attempts=1, lost_on=("w1",))
    view = view_job(lost, kind, ByHand(), workers, NOW, 1)
    assert view.alone
    assert view.avoids == ("w1",)
    only = {"w1": workers["w1"]}
    assert view_job(lost, kind, ByHand(), only, NOW, 1).avoids == ()
    assert view_job(prepared(out_of_memory=1), kind, ByHand(), workers, NOW, 1).alone


def test_a_job_asked_to_leave_runs_on_and_yields() -> None:
    lease = Lease("w1", "w1-first", NOW + 9)
    why = Yield(YieldCause.DRAIN, "worker w1 is being drained")
    job = prepared(state=JobState.RUNNING, lease=lease, yielding=why)
    view = view_job(job, kind_of(make_worker()), ByHand(), {}, NOW, 1)
    assert (view.worker_id, view.running, view.yielding) == ("w1", True, True)
    paused = view_job(
        replace(job, state=JobState.PAUSED, yielding=None), None, ByHand(), {}, NOW, 1
    )
    assert (paused.worker_id, paused.running) == ("w1", False)


def test_like_workers_are_of_one_kind() -> None:
    one = make_worker("w1", base_model="tiny", resident_bytes=(600 << 20) + 5)
    other = make_worker("w2", base_model="tiny", resident_bytes=(600 << 20) + 99)
    assert kind_of(one) is kind_of(other)
    assert kind_of(one) is not kind_of(replace(other, budget_bytes=2000))
