"""Who joins a worker though it adds little, and what another base costs. A job keeps half of a
worker busy, if a test says nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pictures import NOW, SWAP_SECONDS, ByHand, cluster_of, job_view, worker_view

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, WorkerView
from pando_scheduler.placement import best_seat, seat_on
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy

POLICY = Policy(
    classes={
        Priority.HIGH: ClassPolicy(0.0, 1.25),
        Priority.NORMAL: ClassPolicy(300.0, 2.0),
        Priority.LOW: ClassPolicy(None, 2.0),
    },
    minimum_gain=0.25,
    minimum_run_seconds=120.0,
)


def draft(*things: WorkerView | JobView, alone: float = 0.5) -> Draft:
    return Draft(cluster_of(*things, policy=POLICY, predict=ByHand(alone)), NOW)


def joins(
    there: int, job: JobView, device: str = "cuda:0", rank: int = 1, end_in: float = 100.0
) -> bool:
    """Whether the job may join so many of a class on a worker."""
    ends_at = NOW + end_in
    others = [replace(job_view(on="w1", ends_at=ends_at), rank=rank) for _ in range(there)]
    at = draft(worker_view(device=device, gib=100), *others)
    return seat_on(at, job, "w1") is not None


@pytest.mark.parametrize(("there", "joined"), [(1, True), (2, False), (3, False)])
def test_a_third_of_two_halves_adds_nothing(there: int, joined: bool) -> None:
    assert joins(there, job_view()) == joined


@pytest.mark.parametrize(("there", "joined"), [(2, True), (3, True), (4, False)])
def test_a_tenants_first_joins_all_the_same_as_long_as_all_bear_it(
    there: int, joined: bool
) -> None:
    # With it they take 1.5, 2 and 2.5 times as long.
    assert joins(there, job_view(tenant="new")) == joined


def test_the_highest_class_bears_less_of_anybody() -> None:
    assert joins(1, job_view(tenant="new"), rank=0)
    assert not joins(2, job_view(tenant="new"), rank=0)
    assert not joins(2, replace(job_view(tenant="new"), rank=0))


@pytest.mark.parametrize(
    ("there", "seconds", "joined"),
    [(2, 180.0, True), (2, 181.0, False), (7, 180.0, True), (8, 180.0, False)],
)
def test_on_a_cpu_a_quick_job_joins_until_all_take_four_times_as_long(
    there: int, seconds: float, joined: bool
) -> None:
    # Seven and it are four workers' worth, eight and it are more.
    assert joins(there, job_view(seconds_left=seconds), "cpu") == joined


def test_on_a_gpu_nobody_is_quick_and_on_a_cpu_not_beside_the_highest_class() -> None:
    quick = job_view(seconds_left=180.0)
    assert joins(5, quick, "cpu")
    assert not joins(5, quick)
    assert not joins(5, quick, "cpu", rank=0)
    assert not joins(5, replace(quick, rank=0), "cpu")


@pytest.mark.parametrize(("there", "seconds"), [(2, 300.0), (3, 200.0)])
def test_one_that_takes_less_from_all_than_it_would_wait_joins(there: int, seconds: float) -> None:
    assert joins(there, job_view(seconds_left=seconds), end_in=600.0)
    assert not joins(there, job_view(seconds_left=seconds + 1), end_in=600.0)


def test_another_base_costs_the_time_to_load_it() -> None:
    at = draft(worker_view("w1", base="tiny"), worker_view("w2", base="llama"))
    for seconds, gain in ((SWAP_SECONDS, 0.5), (9 * SWAP_SECONDS, 0.9)):
        job = job_view(seconds_left=seconds)
        assert seat_on(at, job, "w1").gain == 1.0  # type: ignore[union-attr]
        assert seat_on(at, job, "w2").gain == pytest.approx(gain)  # type: ignore[union-attr]
        assert best_seat(at, job, None).worker.id == "w1"  # type: ignore[union-attr]


@pytest.mark.parametrize(("seconds", "where"), [(20.0, "w1"), (540.0, "w2")])
def test_a_base_is_loaded_for_a_job_that_is_long_enough(seconds: float, where: str) -> None:
    # Beside the other it adds 2 / 1.5 - 1 = 0.33; on the idle worker 20 / 80 or 540 / 600.
    busy, idle = worker_view("w1"), worker_view("w2", base="llama")
    at = draft(busy, idle, job_view(on="w1"), alone=0.75)
    seat = best_seat(at, job_view(seconds_left=seconds), None)
    assert seat is not None
    assert seat.worker.id == where


def test_the_smallest_of_idle_workers_is_enough() -> None:
    at = draft(worker_view("w1", 80), worker_view("w2", 24), worker_view("w3", 12))
    assert best_seat(at, job_view(4), None).worker.id == "w2"  # type: ignore[union-attr]


@pytest.mark.parametrize(("keys", "fits"), [(3, True), (4, False)])
def test_the_host_must_have_room_too(keys: int, fits: bool) -> None:
    # 2 + 3 + 3 GiB of 8.
    at = draft(worker_view(gib=80, host_gib=8), job_view(keys=3, on="w1"))
    assert (seat_on(at, job_view(keys=keys), "w1") is not None) == fits


def test_a_job_that_must_be_alone_has_an_idle_worker_only() -> None:
    at = draft(worker_view("w1"), worker_view("w2"), job_view(on="w1"), job_view(on="w2"))
    assert best_seat(at, job_view(alone=True), None) is None
    at = draft(worker_view("w1"), worker_view("w2"), job_view(on="w1", alone=True))
    assert best_seat(at, job_view(alone=True), None).worker.id == "w2"  # type: ignore[union-attr]
    assert seat_on(at, job_view(), "w1") is None
