"""Jobs that give their places up: for a higher class, a drained worker, a starved job."""

from __future__ import annotations

from factories import EPOCH_START
from prometheus_client import generate_latest
from scheduling import SchedulerBench

from pando_shared.jobs import JobState, Priority, YieldCause
from pando_shared.policy import Policy


def settle_leavers(bench: SchedulerBench) -> None:
    """What workers do: whoever is to leave gives its lease back."""
    for job in bench.store.leased_jobs():
        if job.yielding is not None:
            bench.give_back(job.id)


def test_a_high_job_takes_the_place_of_others_in_the_round_after_its_arrival(
    bench: SchedulerBench,
) -> None:
    bench.worker(budget_bytes=320)  # 1.1 · (100 + 3 · 60) = 308
    low = [bench.job(rank=60, created_at=EPOCH_START + i) for i in range(3)]
    bench.tick()
    [first] = bench.planned()
    bench.begin(first)
    bench.tick()
    urgent = bench.job(rank=60, priority=Priority.HIGH)
    bench.advance(1)
    bench.tick()
    left = [job for job in low if bench.store.get_job(job.id).yielding is not None]
    assert len(left) == 1
    yielding = bench.store.get_job(left[0].id).yielding
    assert yielding is not None
    assert yielding.cause is YieldCause.PRIORITY
    [planned] = bench.planned()
    staying = {job.id for job in low} - {left[0].id}
    assert bench.members(planned) == {urgent.id, *staying}
    assert planned.predicted_bytes <= 320

    settle_leavers(bench)
    bench.tick(2)
    back = bench.store.get_job(left[0].id)
    assert (back.state, back.preemptions, back.yielding) == (JobState.QUEUED, 1, None)
    assert back.attempts == 0
    text = generate_latest(bench.metrics.registry).decode()
    assert 'pando_preemptions_total{reason="priority"} 1.0' in text
    said = [event.message for event in bench.store.events(back.id)]
    assert any("higher class" in message for message in said)


def test_a_drained_worker_is_left_by_all_and_joined_by_none(bench: SchedulerBench) -> None:
    bench.worker("w1", base_model="tiny")
    jobs = [bench.job() for _ in range(2)]
    bench.tick()
    bench.store.set_draining("w1", bench.clock.now())
    bench.tick()
    causes = [bench.store.get_job(job.id).yielding for job in jobs]
    assert [why.cause for why in causes if why] == [YieldCause.DRAIN] * 2
    bench.worker("w2")
    settle_leavers(bench)
    bench.tick(2)
    leases = [bench.store.get_job(job.id).lease for job in jobs]
    assert [lease.worker_id for lease in leases if lease] == ["w2"] * 2
    # Nobody was preempted in the sense that is counted and bounded.
    assert [bench.store.get_job(job.id).preemptions for job in jobs] == [0, 0]

    bench.store.set_draining("w2", bench.clock.now())
    bench.store.set_draining("w1", None)
    bench.tick()
    settle_leavers(bench)
    bench.tick(2)
    leases = [bench.store.get_job(job.id).lease for job in jobs]
    assert [lease.worker_id for lease in leases if lease] == ["w1"] * 2


def test_tenants_beside_each_other_share_a_worker_by_weight(
    bench: SchedulerBench, tmp_path: object
) -> None:
    bench.worker()
    mine = [bench.job(tenant="acme") for _ in range(2)]
    theirs = bench.job(tenant="other")
    bench.tick()
    [planned] = bench.planned()
    assert planned.shares == {mine[0].id: 0.5, mine[1].id: 0.5, theirs.id: 1.0}


def test_one_tenant_alone_needs_no_shares(bench: SchedulerBench) -> None:
    bench.worker()
    bench.job()
    bench.job()
    bench.tick()
    [planned] = bench.planned()
    assert planned.shares == {}


def test_what_was_waited_counts_on_until_it_has_brought_a_place(bench: SchedulerBench) -> None:
    starvation = Policy().starvation_seconds
    for waited, credit in ((3600.0, 3600.0), (starvation, 0.0)):
        name = f"w{waited:.0f}"
        bench.worker(name, models=(name,))
        job = bench.job(model=name, queued_at=bench.clock.now() - waited)
        bench.tick()
        assert bench.store.get_job(job.id).waited_seconds == waited
        bench.store.set_draining(name, bench.clock.now())
        bench.tick()
        bench.give_back(job.id)
        bench.tick()
        back = bench.store.get_job(job.id)
        assert (back.state, back.waited_seconds) == (JobState.QUEUED, credit)
