"""Forecasts reach the store, and are held against what came."""

from __future__ import annotations

from dataclasses import replace

from factories import EPOCH_START
from prometheus_client import generate_latest
from scheduling import SchedulerBench

from pando_shared.jobs import JobState


def errors(bench: SchedulerBench, what: str) -> tuple[float, float]:
    """How many errors were observed, and their sum in seconds."""
    found = {}
    for line in generate_latest(bench.metrics.registry).decode().splitlines():
        name, _, value = line.partition(" ")
        found[name] = value
    name = f"pando_{what}_forecast_error_seconds"
    return float(found[f"{name}_count"]), float(found[f"{name}_sum"])


def renew(bench: SchedulerBench, seconds: float = 2.0) -> None:
    bench.advance(seconds)
    bench.tick()


def test_the_first_start_is_held_against_what_was_promised_and_later_ones_are_not(
    bench: SchedulerBench,
) -> None:
    bench.worker(budget_bytes=150)  # 1.1 · (100 + 30): one job
    bench.job(rank=30, created_at=EPOCH_START - 9)
    waiting = bench.job(rank=30, created_at=EPOCH_START)
    bench.tick()
    renew(bench)
    told = bench.forecast(waiting.id)
    assert told is not None
    assert told.position == 1
    assert told.promised_start is not None
    assert errors(bench, "start") == (0, 0)

    [first] = bench.store.leased_jobs()
    bench.store.update_job(first.id, lambda job: job.to(JobState.FAILED))
    renew(bench)
    placed = bench.store.get_job(waiting.id)
    assert placed.state is JobState.RUNNING
    assert placed.started_at is not None
    renew(bench)
    off = abs(placed.started_at - told.promised_start)
    assert errors(bench, "start") == (1, off)

    # It leaves, waits and comes back: that start was never promised.
    bench.store.set_draining("w1", bench.clock.now())
    bench.tick()
    bench.give_back(waiting.id)
    renew(bench)
    bench.store.set_draining("w1", None)
    renew(bench, 5.0)
    renew(bench)
    assert bench.store.get_job(waiting.id).state is JobState.RUNNING
    assert errors(bench, "start") == (1, off)


def test_only_an_end_with_success_is_held_against_what_was_promised(bench: SchedulerBench) -> None:
    bench.worker()
    jobs = [bench.job() for _ in range(2)]
    bench.tick()
    renew(bench)
    told = [bench.forecast(job.id) for job in jobs]
    assert all(one is not None and one.promised_finish is not None for one in told)
    bench.advance(100)
    ended = bench.clock.now()
    for job, state in zip(jobs, (JobState.SUCCEEDED, JobState.CANCELLED), strict=True):
        bench.store.update_job(
            job.id, lambda job, state=state: replace(job.to(state), finished_at=ended)
        )
    renew(bench)
    assert told[0] is not None
    assert told[0].promised_finish is not None
    assert errors(bench, "finish") == (1, abs(ended - told[0].promised_finish))
    assert bench.store.all_forecasts() == []
