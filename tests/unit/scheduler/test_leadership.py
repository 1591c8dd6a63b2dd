"""Several schedulers: one leads, another takes over, and starts from what is stored."""

from __future__ import annotations

from scheduling import SchedulerBench

from pando_scheduler.loop import LEAD_SECONDS, STANDBY_SECONDS
from pando_scheduler.picture import Reservation
from pando_shared.forecasts import Usage
from pando_shared.jobs import JobState


def test_one_leads_and_the_next_takes_over_within_ten_seconds(bench: SchedulerBench) -> None:
    first, second = bench.loop, bench.another()
    assert first.lead()
    assert not second.lead()
    for _ in range(20):  # as long as it renews, it leads
        bench.clock.advance(1.0)
        assert first.lead()
        assert not second.lead()
    waited = 0.0
    while not second.lead():
        bench.clock.advance(STANDBY_SECONDS)
        waited += STANDBY_SECONDS
    assert waited <= LEAD_SECONDS + STANDBY_SECONDS < 10
    assert not first.lead()


def test_a_successor_goes_on_from_what_is_stored(bench: SchedulerBench) -> None:
    bench.worker(budget_bytes=150)
    assert bench.loop.lead()
    bench.job(rank=20)
    waiting = bench.job(rank=20)
    bench.tick(2)
    reserved = Reservation(waiting.id, "w1", bench.clock.now() + 100)
    bench.loop.cluster.reservations[waiting.id] = reserved
    bench.advance(6)
    bench.tick()
    used = bench.store.usage()["acme"].worker_seconds
    assert used > 0
    bench.advance(LEAD_SECONDS + 1)
    second = bench.another()
    assert second.lead()
    assert second.cluster.reservations == {waiting.id: reserved}
    meter = second.cluster.accounts.meters["acme"]
    assert meter.usage("acme") == Usage("acme", used, bench.store.usage()["acme"].at)
    second.tick()
    assert bench.store.get_job(waiting.id).state is JobState.QUEUED


def test_two_that_lead_for_a_moment_place_no_job_twice(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    second = bench.another()
    bench.loop.tick()
    second.tick()
    bench.loop.tick()
    assert bench.store.get_job(job.id).epoch == 1
    assert sum(job.id in bench.members(planned) for planned in bench.planned()) == 1
