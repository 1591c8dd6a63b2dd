"""A GPU worker's host is a second memory that jobs must fit, and that messages name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from factories import EPOCH_START, make_job, make_worker
from scheduling import RULES, SchedulerBench, memory_of

from pando_scheduler.cluster import ClusterState
from pando_scheduler.decisions import Block, PlaceRound
from pando_scheduler.policy import explain
from pando_scheduler.schedule import schedule
from pando_scheduler.seats import Seats
from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.jobs import JobState, Lease
from pando_shared.memory import Needs
from pando_shared.workers import Worker

GIB = 1 << 30


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


def three_and_four(base: str, adapters: Sequence[AdapterConfig], worker: Worker) -> Needs:
    """Each job takes 3 GiB of the GPU and 4 of its host."""
    return Needs(3 * GIB * len(adapters), 4 * GIB * len(adapters))


def reason(device_gib: int, host_gib: int | None, beside: int = 0) -> str:
    """Why a job waits for a worker with these memories and as many jobs."""
    host = None if host_gib is None else host_gib * GIB
    worker = make_worker(device="cuda:0", budget_bytes=device_gib * GIB, host_budget_bytes=host)
    held = [make_job() for _ in range(beside)]
    return explain(make_job(), [Seats(worker, RULES, three_and_four, held)], (), RULES)


def test_what_can_never_fit_names_the_memory_and_both_figures() -> None:
    gpu = "3.30 GiB of GPU memory with headroom, where the largest worker has 2.00 GiB"
    host = "4.40 GiB of host memory with headroom, where the largest worker has 4.00 GiB"
    assert reason(2, 5) == f"needs {gpu}"
    assert reason(4, 4) == f"needs {host}"
    assert reason(2, 4) == f"needs {gpu} and {host}"
    assert reason(2, None) == f"needs {gpu}"


def test_what_waits_for_others_names_the_memory_and_both_figures() -> None:
    waits = "waits for memory beside the jobs in training: with it they need"
    assert reason(9, 12, beside=2) == (
        f"{waits} 9.90 GiB of GPU memory with headroom, where worker w1 has 9.00 GiB and "
        "13.20 GiB of host memory with headroom, where worker w1 has 12.00 GiB"
    )
    assert reason(10, 12, beside=2) == (
        f"{waits} 13.20 GiB of host memory with headroom, where worker w1 has 12.00 GiB"
    )


def test_the_worker_that_comes_closest_is_spoken_of() -> None:
    fleet = [
        Seats(
            make_worker(
                name, device="cuda:0", budget_bytes=gpu * GIB, host_budget_bytes=host * GIB
            ),
            RULES,
            three_and_four,
        )
        # The first has the most memory on its GPU, the third lacks a tenth.
        for name, gpu, host in (("w1", 80, 1), ("w2", 1, 80), ("w3", 3, 80))
    ]
    assert explain(make_job(), fleet, (), RULES) == (
        "needs 3.30 GiB of GPU memory with headroom, where the largest worker has 3.00 GiB"
    )


def test_on_a_cpu_there_is_one_memory(bench: SchedulerBench) -> None:
    bench.worker(budget_bytes=110)
    job = bench.job(rank=1)
    bench.tick()
    assert " of memory with headroom" in (bench.store.get_job(job.id).blocked_reason or "")


def test_reasons_are_of_the_plan_that_is_made() -> None:
    """Whoever comes later and fits is seated before anyone is told what lacks, so that the next
    look finds nothing to correct."""

    def by_rank(base: str, adapters: Sequence[AdapterConfig], worker: Worker) -> Needs:
        return Needs(GIB, GIB * sum(a.rank for a in adapters if isinstance(a, LoraConfig)))

    now = EPOCH_START
    worker = make_worker(device="cuda:0", budget_bytes=2 * GIB, host_budget_bytes=10 * GIB)
    large, blocked, small = (
        make_job(rank=rank, created_at=now - age) for rank, age in ((6, 3), (5, 2), (2, 1))
    )
    first = schedule(ClusterState((large, blocked, small), (worker,), ()), now, RULES, by_rank)
    [plan] = [decision for decision in first if isinstance(decision, PlaceRound)]
    assert {place.job_id for place in plan.joining} == {large.id, small.id}
    [told] = [decision for decision in first if isinstance(decision, Block)]
    # 1.1 · (6 + 2 + 5)
    assert "they need 14.30 GiB of host memory" in told.reason
    lease = Lease(worker.id, worker.incarnation, now + 15)
    after = (
        *(replace(job, state=JobState.RUNNING, lease=lease) for job in (large, small)),
        replace(blocked, blocked_reason=told.reason),
    )
    again = schedule(ClusterState(after, (worker,), ()), now, RULES, by_rank)
    assert [decision for decision in again if isinstance(decision, Block)] == []
