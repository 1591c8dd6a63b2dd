"""Lost workers, lost leases, lost messages."""

from dataclasses import replace

import pytest
from scheduling import RULES, SchedulerBench

from pando_shared.codec import decode
from pando_shared.errors import StaleEpoch
from pando_shared.jobs import Job, JobState


def lose_worker(bench: SchedulerBench, times: int) -> None:
    for time in range(times):
        bench.worker(incarnation=f"process-{bench.clock.now()}-{time}")
        bench.tick(3)


def test_a_lost_worker_costs_an_attempt_and_fences_it_out(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    held = bench.store.get_job(job.id)
    bench.clock.advance(RULES.lease_seconds + 1)
    bench.tick()
    queued = bench.store.get_job(job.id)
    assert (queued.state, queued.lease, queued.attempts) == (JobState.QUEUED, None, 1)
    assert queued.queued_at == bench.clock.now()
    with pytest.raises(StaleEpoch):
        queued.fenced(held.epoch)
    assert decode(Job, bench.storage.read(f"jobs/{job.id}/job.json")) == queued
    assert bench.store.events_before(job.id, limit=1)[0].level == "warn"


def test_the_third_loss_without_progress_fails_the_job(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    lose_worker(bench, 2)
    assert bench.store.get_job(job.id).state is JobState.RUNNING
    lose_worker(bench, 1)
    failed = bench.store.get_job(job.id)
    assert failed.state is JobState.FAILED
    assert failed.lease is None
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert failed.finished_at == bench.clock.now()


def test_a_loss_for_want_of_memory_is_named_as_one(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    (worker,) = bench.store.list_workers()
    for number in range(3):
        lost = bench.store.list_workers()[0].incarnation
        bench.worker(incarnation=f"process-{number}", killed_for_memory=lost)
        bench.tick(3)
        told = bench.store.events_before(job.id, limit=100)
        assert sum("because memory ran out" in event.message for event in told) == number + 1
    failed = bench.store.get_job(job.id)
    assert failed.error is not None
    assert f"memory ran out, of which it counted on {worker.budget_bytes >> 20:,} MiB" in (
        failed.error.message
    )
    assert "lower its PANDO_MEMORY_BYTES" in failed.error.message


def test_a_loss_after_one_for_want_of_memory_is_not_taken_for_it(bench: SchedulerBench) -> None:
    bench.worker(killed_for_memory="process-before")
    job = bench.job()
    bench.tick()
    bench.worker(incarnation="process-after", killed_for_memory="process-before")
    bench.tick()
    told = [event.message for event in bench.store.events_before(job.id, limit=100)]
    assert any("worker w1 was lost" in message for message in told)
    assert not any("memory" in message for message in told)


def test_progress_forgives_earlier_losses(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    for _ in range(4):
        lose_worker(bench, 2)
        bench.store.update_job(job.id, lambda job: replace(job, attempts=0))
    assert bench.store.get_job(job.id).state is JobState.RUNNING


def test_a_job_given_back_is_queued_without_an_attempt(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    bench.store.update_job(job.id, lambda job: replace(job, lease=None))
    bench.store.remove_worker("w1")
    bench.tick()
    queued = bench.store.get_job(job.id)
    assert (queued.state, queued.attempts) == (JobState.QUEUED, 0)


def test_a_paused_job_of_a_lost_worker_is_free(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    paused = bench.store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    bench.worker(incarnation="w1-second")
    bench.tick()
    free = bench.store.get_job(job.id)
    assert (free.state, free.lease, free.attempts) == (JobState.PAUSED, None, 0)
    assert free.epoch > paused.epoch


def test_a_lease_renewed_meanwhile_is_left_alone(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    bench.clock.advance(RULES.lease_seconds + 1)
    update = bench.store.update_job

    def renews_first(job_id: str, change):  # type: ignore[no-untyped-def]
        bench.store.update_job = update  # type: ignore[method-assign]
        update(job_id, lambda job: replace(job, lease=replace(job.lease, expires_at=9e9)))
        return update(job_id, change)

    bench.store.update_job = renews_first  # type: ignore[method-assign]
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.RUNNING


def test_a_job_cancelled_meanwhile_stays_cancelled(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    withdrawn = bench.store.update_job

    def cancels_first(job_id: str, change):  # type: ignore[no-untyped-def]
        bench.store.update_job = withdrawn  # type: ignore[method-assign]
        withdrawn(job_id, lambda job: replace(job.to(JobState.CANCELLED), epoch=job.epoch + 1))
        return withdrawn(job_id, change)

    bench.store.update_job = cancels_first  # type: ignore[method-assign]
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.CANCELLED
    assert bench.store.rounds() == []


def test_a_silent_validation_is_asked_for_again_ever_less_often(bench: SchedulerBench) -> None:
    job = bench.job(state=JobState.VALIDATING)
    bench.tick()
    assert bench.messenger.prepared == []
    sent_at = []
    for second in range(500):
        bench.clock.advance(1)
        bench.tick()
        if len(bench.messenger.prepared) > len(sent_at):
            sent_at.append(second + 1)
    # 20 s after creation, 40 s after that, 80 s after that, and so on.
    assert sent_at == [20, 60, 140, 300]
    assert set(bench.messenger.prepared) == {job.id}
