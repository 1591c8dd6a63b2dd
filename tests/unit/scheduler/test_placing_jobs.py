"""Queued jobs come to workers: order, memory, bases, explanations."""

from dataclasses import replace

from factories import EPOCH_START
from scheduling import RULES, SchedulerBench

from pando_shared.codec import decode
from pando_shared.jobs import Job, JobState, Priority, YieldCause
from pando_shared.policy import Policy


def test_a_queued_job_is_leased_recorded_and_sent(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    placed = bench.store.get_job(job.id)
    assert placed.state is JobState.RUNNING
    assert placed.epoch == job.epoch + 1
    assert placed.started_at == bench.clock.now()
    assert placed.lease is not None
    assert placed.lease.worker_id == "w1"
    assert placed.lease.incarnation == "w1-first"
    assert placed.lease.expires_at == bench.clock.now() + RULES.lease_seconds
    assert decode(Job, bench.storage.read(f"jobs/{job.id}/job.json")) == placed
    [planned] = bench.planned()
    assert [(p.job_id, p.epoch) for p in planned.assignments] == [(job.id, placed.epoch)]
    assert planned.predicted_bytes == 128  # 1.1 · (100 + 16)
    assert planned.seconds == RULES.round_seconds
    assert bench.messenger.rounds == [("w1", planned.id)]
    assert "w1" in bench.store.events(job.id)[0].message


def test_jobs_of_one_base_share_a_round(bench: SchedulerBench) -> None:
    bench.worker()
    jobs = [bench.job() for _ in range(4)]
    bench.tick()
    [planned] = bench.planned()
    assert bench.members(planned) == {job.id for job in jobs}


def test_priority_comes_before_age(bench: SchedulerBench) -> None:
    # 1.1 · (100 + 50) = 165 fits, a second adapter of 50 does not.
    bench.worker(budget_bytes=200)
    old = bench.job(rank=50, created_at=EPOCH_START - 9)
    urgent = bench.job(rank=50, priority=Priority.HIGH)
    idle = bench.job(rank=50, priority=Priority.LOW, created_at=EPOCH_START - 99)
    bench.tick()
    states = [bench.store.get_job(job.id).state for job in (urgent, old, idle)]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.QUEUED]


def test_admission_counts_headroom(bench: SchedulerBench) -> None:
    bench.worker(budget_bytes=219)
    job = bench.job(rank=100)
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.QUEUED
    bench.worker(budget_bytes=221)
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.RUNNING


def test_what_fits_passes_what_does_not(bench: SchedulerBench) -> None:
    bench.worker(budget_bytes=400)
    first = bench.job(rank=200, created_at=EPOCH_START - 3)
    large = bench.job(rank=200, created_at=EPOCH_START - 2)
    small = bench.job(rank=20, created_at=EPOCH_START - 1)
    bench.tick()
    [planned] = bench.planned()
    assert bench.members(planned) == {first.id, small.id}
    assert "memory" in bench.reason(large.id)


def test_a_job_that_has_starved_gets_a_worker_of_its_own(bench: SchedulerBench) -> None:
    bench.worker(budget_bytes=400)
    resident = bench.job(rank=200, created_at=EPOCH_START - 3000)
    bench.tick()
    large = bench.job(rank=200, created_at=EPOCH_START)
    bench.advance(Policy().starvation_seconds + 1)
    bench.tick()
    [reservation] = bench.loop.cluster.reservations.values()
    assert (reservation.job_id, reservation.worker_id) == (large.id, "w1")
    bench.advance(reservation.due - bench.clock.now() - 10)
    small = bench.job(rank=20, created_at=bench.clock.now())
    bench.tick()
    bench.advance(2)
    bench.tick()
    # The small one would fit, but the large one's turn comes in a moment.
    assert bench.store.get_job(small.id).state is JobState.QUEUED
    assert "reserved" in bench.reason(small.id)
    bench.advance(10)
    bench.tick()
    yielding = bench.store.get_job(resident.id).yielding
    assert yielding is not None
    assert yielding.cause is YieldCause.RESERVATION
    assert bench.store.get_job(large.id).state is JobState.RUNNING


def test_an_idle_worker_may_change_its_base_and_a_busy_one_not(bench: SchedulerBench) -> None:
    bench.worker(models=("tiny", "other"), base_model="other", resident_bytes=100)
    first = bench.job(model="tiny")
    bench.tick()
    assert bench.store.get_job(first.id).state is JobState.RUNNING
    second = bench.job(model="other")
    bench.tick()
    assert bench.store.get_job(second.id).state is JobState.QUEUED
    bench.store.update_job(first.id, lambda job: job.to(JobState.SUCCEEDED))
    [planned] = bench.planned()
    bench.begin(planned)
    bench.store.end_round(planned.id)
    bench.tick()
    assert bench.store.get_job(second.id).state is JobState.RUNNING


def test_a_worker_with_the_base_in_memory_is_preferred(bench: SchedulerBench) -> None:
    bench.worker("w1", models=("tiny", "other"), base_model="other")
    bench.worker("w2")
    bench.worker("w3", base_model="tiny")
    job = bench.job()
    bench.tick()
    lease = bench.store.get_job(job.id).lease
    assert lease is not None
    assert lease.worker_id == "w3"


def test_every_blocked_job_says_why(bench: SchedulerBench) -> None:
    nowhere, huge, fits = bench.job(model="rare"), bench.job(rank=1000), bench.job(rank=16)
    bench.tick()
    assert "no worker is alive" in bench.reason(fits.id)
    bench.worker()
    bench.advance(3)
    bench.tick()
    bench.advance(3)
    bench.tick()
    assert "rare" in bench.reason(nowhere.id)
    assert "needs" in bench.reason(huge.id)
    assert bench.reason(fits.id) == ""


def test_a_resumed_job_waits_for_its_checkpoint(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    bench.store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    bench.store.update_job(job.id, lambda job: job.to(JobState.QUEUED))
    bench.tick()
    waiting = bench.store.get_job(job.id)
    assert waiting.state is JobState.QUEUED
    bench.store.update_job(job.id, lambda job: replace(job, lease=None))
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.RUNNING
    assert bench.store.get_job(job.id).epoch == 2
