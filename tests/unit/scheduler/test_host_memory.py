"""A GPU worker's host is a second memory that jobs must fit, and that messages name."""

from __future__ import annotations

from factories import EPOCH_START
from scheduling import SchedulerBench, memory_of

from pando_shared.jobs import JobState


def test_a_job_joins_only_if_the_host_has_room_too(bench: SchedulerBench) -> None:
    bench.worker(device="cuda:0", host_budget_bytes=400)
    # 1.1 · (10 + 200 + 150) = 396; with four keys more, 400.4.
    first = bench.job(adapter=memory_of(200), created_at=EPOCH_START - 4)
    large = bench.job(adapter=memory_of(154), created_at=EPOCH_START - 3)
    small = bench.job(adapter=memory_of(150), created_at=EPOCH_START - 2)
    other = bench.job(rank=16, created_at=EPOCH_START - 1)
    bench.tick()
    [planned] = bench.planned()
    assert bench.members(planned) == {first.id, small.id, other.id}
    assert bench.store.get_job(large.id).state is JobState.QUEUED


def test_a_host_of_its_own_may_have_room_for_another(bench: SchedulerBench) -> None:
    bench.worker("w1", device="cuda:0", host_budget_bytes=400)
    bench.worker("w2", device="cuda:1", host_budget_bytes=400)
    jobs = [bench.job(adapter=memory_of(300), created_at=EPOCH_START + i) for i in range(2)]
    bench.tick()
    leases = [bench.store.get_job(job.id).lease for job in jobs]
    assert [lease.worker_id for lease in leases if lease] == ["w1", "w2"]


def test_a_host_without_a_limit_takes_any(bench: SchedulerBench) -> None:
    bench.worker(device="cuda:0", host_budget_bytes=None)
    job = bench.job(adapter=memory_of(1 << 20))
    bench.tick()
    assert bench.store.get_job(job.id).state is JobState.RUNNING
