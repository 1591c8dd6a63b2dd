"""Bad policy files, clocks that jump, workers that lie, jobs that kill their workers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from factories import EPOCH_START
from prometheus_client import generate_latest
from scheduling import RULES, SchedulerBench

from pando_scheduler.loop import JUMP_SECONDS
from pando_scheduler.rules import Rules
from pando_shared.adapters import LoraConfig
from pando_shared.clock import FakeClock
from pando_shared.jobs import JobState
from pando_shared.reports import JobService, RoundReport
from pando_shared.storage import Storage


def die(bench: SchedulerBench, worker_id: str) -> None:
    """The worker's process is killed and comes back."""
    bench.worker(worker_id, incarnation=f"{worker_id}-{bench.clock.now()}")
    bench.advance(0.5)


def test_a_job_that_kills_its_workers_is_quarantined_and_its_neighbours_finish(
    bench: SchedulerBench,
) -> None:
    bench.worker("w1", base_model="tiny")
    poison, *others = [bench.job(created_at=EPOCH_START + i) for i in range(4)]
    bench.tick()
    deaths = 0
    for _ in range(40):
        lease = bench.store.get_job(poison.id).lease
        if lease is not None:
            die(bench, lease.worker_id)
            deaths += 1
        for job in others:
            current = bench.store.get_job(job.id)
            if current.lease is not None and lease is None:
                # Durable progress, and soon the end.
                bench.store.update_job(job.id, lambda job: replace(job, attempts=0, lost_on=()))
                bench.store.update_job(job.id, lambda job: job.to(JobState.SUCCEEDED))
        bench.advance(1)
        bench.tick(2)
        for planned in bench.planned():
            members = bench.members(planned)
            # Whoever was lost twice trains alone, until it is known to be innocent.
            suspects = [m for m in members if bench.store.get_job(m).attempts > 1]
            assert not suspects or len(members) == 1
    quarantined = bench.store.get_job(poison.id)
    assert quarantined.state is JobState.FAILED
    assert quarantined.error is not None
    assert quarantined.error.code == "worker_lost"
    assert "quarantined" in quarantined.error.message
    assert deaths == RULES.max_attempts
    assert [bench.store.get_job(job.id).state for job in others] == [JobState.SUCCEEDED] * 3


def test_a_suspect_avoids_the_worker_it_was_lost_on(bench: SchedulerBench) -> None:
    bench.worker("w1", base_model="tiny")
    job = bench.job()
    bench.tick()
    for _ in range(RULES.suspect_attempts):
        bench.worker("w2")
        die(bench, "w1")
        bench.tick(2)
    moved = bench.store.get_job(job.id)
    assert moved.lost_on == ("w1",)
    assert moved.lease is not None
    assert moved.lease.worker_id == "w2"


def test_one_loss_makes_no_suspect(bench: SchedulerBench) -> None:
    """The jobs of a worker that died go on together, and do not wait for one that is empty."""
    bench.worker("w1", base_model="tiny")
    jobs = [bench.job() for _ in range(3)]
    bench.tick()
    die(bench, "w1")
    bench.tick(2)
    found = [bench.store.get_job(job.id) for job in jobs]
    assert [(job.state, job.attempts) for job in found] == [(JobState.RUNNING, 1)] * 3


@pytest.mark.parametrize(("most", "suspect"), [(1, 1), (2, 1), (3, 2), (4, 2), (20, 10)])
def test_a_suspect_has_an_attempt_left(most: int, suspect: int) -> None:
    assert Rules(max_attempts=most).suspect_attempts == suspect


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_jumps_costs_nobody_its_lease(bench: SchedulerBench, seconds: float) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    bench.clock.jump(seconds)
    bench.tick()
    held = bench.store.get_job(job.id)
    assert (held.state, held.attempts) == (JobState.RUNNING, 0)
    # Workers follow the clock within a sync, and renew.
    for _ in range(10):
        bench.advance((JUMP_SECONDS + RULES.lease_seconds) / 8)
        bench.tick()
    held = bench.store.get_job(job.id)
    assert (held.state, held.attempts) == (JobState.RUNNING, 0)
    # From then on a lost worker is noticed as always.
    bench.clock.advance(RULES.lease_seconds + 1)
    bench.tick()
    assert bench.store.get_job(job.id).attempts == 1


def test_a_worker_that_ran_out_of_memory_is_not_believed_again(bench: SchedulerBench) -> None:
    worker = bench.worker(budget_bytes=100_000)
    report = RoundReport(
        worker_id=worker.id,
        incarnation=worker.incarnation,
        base_model="tiny",
        device="cpu",
        jobs=(JobService("ftjob-1", LoraConfig(), 0, 0, 0.0),),
        seconds=1.0,
        microbatch_tokens=512,
        longest=10,
        resident_bytes=100,
        predicted_bytes=200,
        measured_bytes=150,
        out_of_memory=1,
    )
    bench.store.push_report(report)
    bench.tick()
    small, large = bench.job(rank=10), bench.job(rank=100)
    bench.tick()
    # 0.95 · 150 = 142 is what it is trusted to have; 1.1 · 110 = 121, 1.1 · 200 = 220.
    assert bench.store.get_job(small.id).state is JobState.RUNNING
    assert bench.store.get_job(large.id).state is JobState.QUEUED
    bench.store.update_job(small.id, lambda job: job.to(JobState.SUCCEEDED))
    # A new process may have more.
    bench.worker(budget_bytes=100_000, incarnation="w1-second")
    bench.tick(3)
    assert bench.store.get_job(large.id).state is JobState.RUNNING


@pytest.mark.parametrize("budget", [0, -5])
def test_a_worker_without_sense_gets_no_job_and_stops_nobody(
    bench: SchedulerBench, budget: int
) -> None:
    bench.worker("w1", budget_bytes=budget, token_budget=-1)
    job = bench.job()
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.QUEUED
    bench.worker("w2")
    bench.tick()
    lease = bench.store.get_job(job.id).lease
    assert lease is not None
    assert lease.worker_id == "w2"


def test_a_policy_is_reloaded_and_a_bad_one_is_not_used(
    clock: FakeClock, storage: Storage, tmp_path: Path
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\nweight = 3\n")
    bench = SchedulerBench(clock, storage, path)
    assert bench.loop.cluster.policy.tenant("acme").weight == 3

    def rewrite(text: str) -> str:
        path.write_text(text)
        os.utime(path, (clock.now(), clock.now()))
        for _ in range(3):
            bench.advance(2)
            bench.tick()
        return generate_latest(bench.metrics.registry).decode()

    text = rewrite("[tenants.acme]\nweight = 'heavy'\n")
    assert bench.loop.cluster.policy.tenant("acme").weight == 3
    assert "pando_policy_file_valid 0.0" in text
    text = rewrite("[tenants.acme]\nweight = 5\n")
    assert bench.loop.cluster.policy.tenant("acme").weight == 5
    assert "pando_policy_file_valid 1.0" in text
