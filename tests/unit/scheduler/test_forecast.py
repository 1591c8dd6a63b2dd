"""When jobs start and end, played forward by hand: 7,200 s a job alone, those that train end when
the test says."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from pictures import NOW, POLICY, SWAP_SECONDS, ByHand, cluster_of, job_view, worker_view

from pando_scheduler.cluster import Cluster
from pando_scheduler.forecast import changed, forecast
from pando_scheduler.picture import JobView, Reservation
from pando_scheduler.promises import finish_error, start_error
from pando_shared.forecasts import Forecast
from pando_shared.policy import TenantPolicy

SECONDS = 7200.0


def foreseen(cluster: Cluster, now: float = NOW) -> dict[str, Forecast]:
    return {found.job_id: found for found in forecast(cluster, now, {})}


def starts(cluster: Cluster, *jobs: JobView) -> list[float | None]:
    """Seconds from now until each of the jobs starts."""
    found = foreseen(cluster)
    times = [found[job.id].starts_at for job in jobs]
    return [None if at is None else at - NOW for at in times]


def training(ends_in: float, on: str = "w1", rank: int = 1, **fields: object) -> JobView:
    return job_view(rank, on=on, ends_at=NOW + ends_in, **fields)


def test_positions_are_the_order_in_which_jobs_are_placed() -> None:
    long = job_view(waited=900)
    short = job_view(waited=600, seconds_left=60.0)
    urgent = replace(job_view(waited=300), rank=0)
    starved = job_view(waited=POLICY.starvation_seconds + 1)
    held = job_view(waited=1200, held="waits for rung 1 of its sweep: 1 of 2 trials are there")
    found = foreseen(cluster_of(worker_view(), long, short, urgent, starved, held))
    order = [starved, urgent, short, long]
    assert [found[job.id].position for job in order] == [1, 2, 3, 4]
    assert (found[held.id].position, found[held.id].starts_at) == (None, None)
    assert found[held.id].reason == held.held


def test_a_job_takes_the_seat_that_is_free_first() -> None:
    jobs = [job_view(waited=float(9 - i)) for i in range(4)]
    others = training(100.0), training(300.0), training(200.0, "w2"), training(1000.0, "w2")
    cluster = cluster_of(worker_view("w1"), worker_view("w2"), *others, *jobs)
    # Two on a worker, each of which keeps half of it busy, slow nobody down.
    assert starts(cluster, *jobs) == [100.0, 200.0, 300.0, 1000.0]
    found = foreseen(cluster)
    assert found[jobs[0].id].finishes_at == NOW + 100.0 + SECONDS


def test_a_seat_is_free_again_once_its_job_has_ended() -> None:
    jobs = [job_view(waited=float(9 - i)) for i in range(3)]
    # 10 + 12 GiB of 24: no other job beside it.
    jobs = [replace(job, size=job_view(12).size) for job in jobs]
    cluster = cluster_of(worker_view(), training(50.0, rank=12), *jobs)
    assert starts(cluster, *jobs) == [50.0, 50.0 + SECONDS, 50.0 + 2 * SECONDS]


def test_who_trains_with_others_takes_as_long_as_they() -> None:
    # Three of which each keeps half of the worker busy: 1.5 times as long.
    job = job_view()
    cluster = cluster_of(worker_view(), *[training(60.0 * i) for i in (1, 2, 3)], job)
    found = foreseen(cluster)[job.id]
    assert found.starts_at == NOW + 60
    assert found.finishes_at == pytest.approx(NOW + 60 + 1.5 * SECONDS)


def test_an_empty_worker_has_seats_for_as_many_as_fit() -> None:
    # 24 - 10 = 14 GiB, 6 each: two. The base is loaded first.
    jobs = [job_view(6, waited=float(9 - i)) for i in range(3)]
    cluster = cluster_of(worker_view(base=None), *jobs)
    assert starts(cluster, *jobs) == [SWAP_SECONDS, SWAP_SECONDS, SWAP_SECONDS + SECONDS]


def test_seats_end_where_a_further_job_would_slow_the_others_down_too_much() -> None:
    # Five would take 2.5 times as long, four take twice, and 2 is allowed; but the third adds
    # 3 / 1.5 - 2 = 0 to the speeds of two.
    jobs = [job_view(waited=float(9 - i)) for i in range(3)]
    assert starts(cluster_of(worker_view(), *jobs), *jobs) == [0.0, 0.0, SECONDS]
    quick = [replace(job, seconds_left=100.0) for job in (*jobs, job_view(), job_view())]
    # On a CPU quick jobs join though they add nothing, as long as all bear it.
    cluster = cluster_of(worker_view(device="cpu"), *quick)
    assert starts(cluster, *quick) == [0.0, 0.0, 0.0, 0.0, 200.0]


def test_a_worker_changes_its_base_once_it_is_empty() -> None:
    job = job_view(base_model="llama")
    others = training(100.0), training(400.0), training(300.0, "w2")
    cluster = cluster_of(worker_view("w1"), worker_view("w2"), *others, job)
    assert starts(cluster, job) == [300.0 + SWAP_SECONDS]
    only = cluster_of(worker_view("w1"), worker_view("w2", bases=("tiny",)), *others, job)
    assert starts(only, job) == [400.0 + SWAP_SECONDS]


def test_seats_of_a_base_are_gone_when_the_worker_has_changed_it() -> None:
    # 10 + 12 GiB: one of them at a time, and the first is not for the base that is loaded.
    llama, tiny = job_view(12, base_model="llama", waited=9.0), job_view(12, waited=8.0)
    cluster = cluster_of(worker_view(), training(100.0), llama, tiny)
    assert starts(cluster, llama, tiny) == [
        100.0 + SWAP_SECONDS,
        100.0 + SWAP_SECONDS + SECONDS + SWAP_SECONDS,
    ]


def test_who_wants_another_base_is_passed_by_those_who_want_the_present_one() -> None:
    llama, tiny = job_view(base_model="llama", waited=9.0), job_view(waited=8.0)
    cluster = cluster_of(worker_view(), training(100.0), training(40.0), llama, tiny)
    assert starts(cluster, llama, tiny) == [40.0 + SECONDS + SWAP_SECONDS, 40.0]


def test_a_job_that_must_be_alone_waits_for_an_empty_worker() -> None:
    alone, other = job_view(alone=True, waited=9.0), job_view(waited=8.0)
    cluster = cluster_of(worker_view(), training(100.0), training(400.0), alone)
    assert starts(cluster, alone) == [400.0]
    cluster = cluster_of(worker_view(), training(400.0), alone, other)
    assert starts(cluster, alone, other) == [400.0, 400.0 + SECONDS]


def test_nobody_joins_a_job_that_must_be_alone() -> None:
    job = job_view()
    assert starts(cluster_of(worker_view(), training(250.0, alone=True), job), job) == [250.0]


def test_a_job_avoids_the_workers_that_were_lost_with_it() -> None:
    jobs = job_view(avoids=("w1",), waited=9.0), job_view(waited=8.0)
    others = training(100.0), training(300.0, "w2")
    cluster = cluster_of(worker_view("w1"), worker_view("w2"), *others, *jobs)
    assert starts(cluster, *jobs) == [300.0, 100.0]


def test_nothing_is_said_of_what_no_worker_could_train() -> None:
    jobs = job_view(15), job_view(base_model="unknown"), job_view(held="waits for rung 1")
    cluster = cluster_of(worker_view(), *jobs)
    assert starts(cluster, *jobs) == [None] * 3
    assert starts(cluster_of(worker_view(draining=True), *jobs), *jobs) == [None] * 3
    assert starts(cluster_of(*jobs), *jobs) == [None] * 3


def test_a_tenant_at_its_limit_waits_for_its_own_jobs() -> None:
    policy = replace(POLICY, tenants={"acme": TenantPolicy(limit=0.5)})
    mine = [job_view(waited=float(9 - i)) for i in range(2)]
    theirs = job_view(tenant="globex", waited=5.0)
    cluster = cluster_of(
        worker_view("w1"), worker_view("w2"), training(500.0, tenant="acme"), *mine, theirs,
        policy=policy,
    )  # fmt: skip
    assert starts(cluster, *mine, theirs) == [500.0, 500.0 + SECONDS, 0.0]
    never = replace(POLICY, tenants={"acme": TenantPolicy(limit=0.0)})
    assert starts(cluster_of(worker_view(), *mine, policy=never), *mine) == [None, None]


def test_a_job_with_a_reservation_starts_when_it_is_due() -> None:
    starved, other = job_view(12, waited=1e5), job_view(1)
    cluster = cluster_of(worker_view(), training(9000.0), training(8000.0), starved, other)
    cluster.reservations[starved.id] = Reservation(starved.id, "w1", NOW + 1800)
    assert starts(cluster, starved)[0] == 1800.0


def test_who_is_about_to_leave_leaves_a_seat_now() -> None:
    leaving = training(900.0, yielding=True)
    job = job_view()
    found = foreseen(cluster_of(worker_view(), leaving, job))
    assert found[job.id].starts_at == NOW
    assert found[leaving.id].finishes_at is None


def test_who_trains_has_an_end_and_no_position() -> None:
    late, other = training(-30.0), training(70.0, "w2")
    saving = job_view(on="w1", running=False)
    lost = training(50.0, on="gone")
    found = foreseen(cluster_of(worker_view("w1"), worker_view("w2"), late, other, saving, lost))
    assert [found[job.id].finishes_at for job in (late, other, lost)] == [NOW, NOW + 70, None]
    assert (found[late.id].position, found[late.id].reason) == (None, None)
    assert found[saving.id].reason == "waits for worker w1 to save its checkpoint"


def test_who_waits_is_told_so_with_the_place_in_line() -> None:
    jobs = [job_view(6, waited=float(9 - i)) for i in range(2)]
    cluster = cluster_of(worker_view(), training(840.0, rank=9), *jobs)
    assert foreseen(cluster)[jobs[1].id].reason == (
        "needs 6.0 GiB of GPU memory with head-room, beside the 1 job in training on worker w1 "
        "there is 5.0 GiB; 1 job ahead; starts in about 15 min"
    )


def test_a_job_with_far_more_left_makes_place_once_it_has_trained_undisturbed() -> None:
    policy = replace(POLICY, minimum_run_seconds=600.0, preempt_longer=4.0)
    # 30 s of its 600 are over; it has 9 h left, and 8 h are four times what the short one takes.
    long = training(9 * 3600.0, rank=12)
    short = job_view(12)
    cluster = cluster_of(worker_view(), long, short, policy=policy)
    found = foreseen(cluster)
    assert found[short.id].starts_at == NOW + 570
    patient = cluster_of(worker_view(), training(7 * 3600.0, rank=12), short, policy=policy)
    assert foreseen(patient)[short.id].starts_at == NOW + 7 * 3600.0
    never = replace(policy, preempt_longer=None)
    cluster = cluster_of(worker_view(), long, short, policy=never)
    assert foreseen(cluster)[short.id].starts_at == NOW + 9 * 3600.0


def test_who_is_sent_away_comes_back_and_ends_later() -> None:
    policy = replace(POLICY, minimum_run_seconds=600.0, preempt_longer=4.0)
    long, short = training(9 * 3600.0, rank=12), job_view(12)
    found = foreseen(cluster_of(worker_view(), long, short, policy=policy))
    back = NOW + 570 + SECONDS
    assert found[long.id].finishes_at == back + 9 * 3600.0 - 570


def test_a_higher_class_takes_the_place_of_a_lower_one() -> None:
    policy = replace(POLICY, minimum_run_seconds=600.0, preempt_longer=None)
    low = training(9000.0, rank=12)
    low = replace(low, rank=2)
    high = replace(job_view(12, waited=400.0), rank=0)
    assert starts(cluster_of(worker_view(), low, high, policy=policy), high) == [570.0]
    spared = replace(low, preemptions=policy.max_preemptions)
    assert starts(cluster_of(worker_view(), spared, high, policy=policy), high) == [9000.0]


def test_promises_are_the_first_times_that_were_told() -> None:
    job = job_view()
    first = foreseen(cluster_of(worker_view(), training(100.0), training(100.0), job))
    told = first[job.id]
    assert (told.promised_start, told.promised_finish) == (NOW + 100, NOW + 100 + SECONDS)
    later = cluster_of(worker_view(), training(900.0), training(900.0), job)
    again = {f.job_id: f for f in forecast(later, NOW + 5, first)}[job.id]
    assert (again.starts_at, again.promised_start) == (NOW + 900, NOW + 100)
    placed = replace(job, worker_id="w1", running=True, ends_at=NOW + 9999)
    [trains] = forecast(cluster_of(worker_view(), placed), NOW + 910, {job.id: again})
    assert (trains.finishes_at, trains.promised_finish) == (NOW + 9999, NOW + 100 + SECONDS)
    assert start_error(trains, NOW + 910) == 810.0
    assert finish_error(trains, NOW + 50 + SECONDS) == -50.0


def test_without_a_promise_there_is_no_error() -> None:
    assert start_error(None, NOW) is None
    assert finish_error(Forecast("job", NOW), NOW) is None


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, False),
        ({"made_at": NOW + 1}, False),
        ({"position": 3}, True),
        ({"reason": "else"}, True),
        ({"starts_at": None}, True),
        ({"starts_at": NOW + 108}, False),
        ({"starts_at": NOW + 112}, True),
        # A quarter of 10,000 s while it waits, 5 % of them while it trains.
        ({"finishes_at": NOW + 12_000}, False),
        ({"finishes_at": NOW + 14_000}, True),
        ({"promised_start": NOW + 1}, True),
    ],
)
def test_only_what_changed_is_written(change: dict[str, object], counts: bool) -> None:
    old = Forecast("job", NOW, 2, "why", NOW + 100, NOW + 10_000, NOW + 100, NOW + 10_000)
    new = replace(old, **change)  # type: ignore[arg-type]
    assert changed([new], {"job": old}) == ([new] if counts else [])


@pytest.mark.parametrize(("moved", "counts"), [(9.0, False), (400.0, False), (600.0, True)])
def test_the_end_of_a_job_that_trains_is_told_more_exactly(moved: float, counts: bool) -> None:
    old = Forecast("job", NOW, finishes_at=NOW + 10_000)
    new = replace(old, finishes_at=NOW + 10_000 + moved)
    assert changed([new], {"job": old}) == ([new] if counts else [])


def test_what_was_never_told_is_written() -> None:
    new = Forecast("job", NOW)
    assert changed([new], {}) == [new]


def test_ten_thousand_jobs_are_told_in_a_moment() -> None:
    """Of over a thousand shapes, on 1,000 workers with 60 different memories."""
    rng = random.Random(1)
    bases = ("tiny", "llama", "qwen")
    workers = [worker_view(f"w{i:04d}", gib=20 + i % 60, base=bases[i % 3]) for i in range(1000)]
    trains = [
        training(rng.uniform(60, 9e4), f"w{i % 1000:04d}", base_model=bases[i % 1000 % 3])
        for i in range(3000)
    ]
    waits = [
        job_view(rng.randrange(1, 12), base_model=rng.choice(bases), waited=rng.uniform(0, 2e4))
        for _ in range(10_000)
    ]
    waits = [replace(job, memory_ratio=round(rng.uniform(0.8, 1.2), 2)) for job in waits]
    cluster = cluster_of(*workers, *trains, *waits, predict=ByHand(interference=0.01))
    began = time.process_time()
    found = forecast(cluster, NOW, {})
    spent = time.process_time() - began
    assert len(found) == 13_000
    assert all(f.starts_at is not None for f in found if f.position is not None)
    # It takes about half a second on a quiet core.
    assert spent < 5.0
