"""The loop outlives its surroundings, and tells Prometheus what it sees."""

import threading
from dataclasses import replace

import pytest
from factories import make_job
from prometheus_client import generate_latest
from scheduling import SchedulerBench

from pando_scheduler.main import recover_if_lost
from pando_shared import layout, lifecycle
from pando_shared.api_keys import digest, new_api_key
from pando_shared.codec import encode
from pando_shared.errors import Unavailable
from pando_shared.jobs import JobState, Priority
from pando_shared.store.stub import StubStore


def test_the_metrics_show_queue_and_placements(bench: SchedulerBench) -> None:
    bench.job(priority=Priority.HIGH, rank=1000, queued_at=bench.clock.now() - 7)
    bench.job()
    bench.worker()
    bench.tick()
    text = generate_latest(bench.metrics.registry).decode()
    assert 'pando_oldest_queued_seconds{priority="high"} 7.0' in text
    assert 'pando_placements_total{outcome="placed"} 1.0' in text
    assert "pando_round_plan_seconds_count 2.0" in text
    bench.tick()  # sees what became of the placement
    text = generate_latest(bench.metrics.registry).decode()
    assert 'pando_job_queue_wait_seconds_count{priority="normal"} 1.0' in text


def test_a_job_whose_base_is_no_longer_configured_trains_on_alone(
    bench: SchedulerBench,
) -> None:
    bench.worker()
    job = bench.job()
    bench.tick(2)
    (before,) = bench.planned()
    assert bench.begin(before) is not None
    # Another scheduler takes over, whose catalogue has the base no more.
    bench.store.update_job(
        job.id, lambda job: replace(job, spec=replace(job.spec, model="unknown"))
    )
    waiting = bench.job()
    bench.loop = bench.another()
    bench.tick(2)
    bench.store.end_round(before.id)
    bench.tick(2)
    (after,) = bench.planned()
    assert bench.members(after) == {job.id}
    assert bench.store.get_job(waiting.id).state is JobState.QUEUED


def test_the_loop_goes_on_after_an_outage_and_stops_when_told(bench: SchedulerBench) -> None:
    stop = threading.Event()
    outages = [Unavailable("Redis is away"), OSError("disk full")]
    seen: list[str] = []

    def tick() -> None:
        if outages:
            error = outages.pop()
            seen.append(str(error))
            raise error
        stop.set()

    bench.loop.tick = tick  # type: ignore[method-assign]
    bench.store.wait = lambda seconds: None  # type: ignore[method-assign]
    stop.wait = lambda timeout=None: False  # type: ignore[method-assign]
    bench.loop.run(stop)
    assert seen == ["disk full", "Redis is away"]


def test_an_emptied_store_is_rebuilt_at_the_start(bench: SchedulerBench) -> None:
    job = make_job(state=JobState.RUNNING)
    lifecycle.submit(bench.store, bench.storage, job)
    emptied = StubStore(bench.clock)
    recover_if_lost(emptied, bench.storage, bench.clock, threading.Event())
    assert emptied.get_job(job.id).state is JobState.QUEUED
    assert emptied.get_job(job.id).epoch > job.epoch


def test_a_store_that_is_emptied_while_all_goes_on_is_rebuilt(bench: SchedulerBench) -> None:
    secret, key = new_api_key("acme", "first", bench.clock.now())
    bench.storage.write(layout.api_key(key.id), encode(key))
    bench.store.put_key(key)
    job = make_job(state=JobState.RUNNING)
    lifecycle.submit(bench.store, bench.storage, job)
    bench.tick(2)
    vars(bench.store).update(vars(StubStore(bench.clock)))
    bench.tick()
    back = bench.store.get_job(job.id)
    assert back.state is JobState.QUEUED
    assert back.epoch > job.epoch
    assert bench.store.find_key(digest(secret)) == key


def test_what_is_lost_is_looked_for_until_storage_answers(
    bench: SchedulerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    lifecycle.submit(bench.store, bench.storage, job)
    vars(bench.store).update(vars(StubStore(bench.clock)))

    def refuse(path: str) -> list[str]:
        raise OSError("storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.storage, "names", refuse)
        with pytest.raises(OSError, match="away"):
            bench.loop.tick()
    bench.tick()
    assert bench.store.get_job(job.id).spec == job.spec


def test_a_store_that_lost_nothing_is_left_alone(bench: SchedulerBench) -> None:
    running = make_job(state=JobState.RUNNING)
    lifecycle.submit(bench.store, bench.storage, running)
    recover_if_lost(bench.store, bench.storage, bench.clock, threading.Event())
    assert bench.store.get_job(running.id) == running
