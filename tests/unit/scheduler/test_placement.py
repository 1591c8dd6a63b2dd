from dataclasses import replace

import pytest
from cluster_world import POLICY, Figures, job, placed, worker

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import Reservation
from pando_scheduler.placement import best_seat, is_closed, seat_on, within_limit
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, TenantPolicy

NOW = 1000.0


def draft(workers, jobs=(), policy=POLICY, reserved=()):
    cluster = Cluster(policy, Figures())
    for one in workers:
        cluster.put_worker(one, NOW)
    for one in jobs:
        cluster.put_job(one, NOW)
    for one in reserved:
        cluster.reservations[one.job_id] = one
    return Draft(cluster, NOW)


def where(found):
    return None if found is None else found.worker.id


def test_memory_decides_whether_a_job_fits() -> None:
    # The base takes 10 of 40, so that a job has 30.
    plan = draft([worker(budget=40)])
    assert where(best_seat(plan, job("x", took=30), None)) == "w1"
    assert best_seat(plan, job("x", took=31), None) is None
    assert seat_on(plan, job("x", took=20), "w1").spare_bytes == 10


def test_a_worker_with_the_base_comes_before_one_without() -> None:
    plan = draft([worker("w1", base="b"), worker("w2", base="a")])
    assert where(best_seat(plan, job("x"), None)) == "w2"
    assert where(best_seat(plan, job("x", base="c"), None)) in ("w1", "w2")


def test_jobs_that_train_as_if_alone_come_together_and_leave_a_worker_idle() -> None:
    there = placed(job("there", percent=40), "w2")
    plan = draft([worker("w1", base="a"), worker("w2", base="a")], [there])
    assert where(best_seat(plan, job("x", percent=50), None)) == "w2"
    # 40 + 80 is more than a worker: better alone.
    assert where(best_seat(plan, job("x", percent=80), None)) == "w1"


def test_nobody_is_slowed_by_more_than_its_class_bears() -> None:
    policy = replace(
        POLICY, classes={**POLICY.classes, Priority.HIGH: ClassPolicy(0.0, 1.25)}, minimum_gain=0.0
    )
    there = placed(job("there", percent=70, rank=Priority.HIGH), "w1")
    plan = draft([worker(base="a")], [there], policy)
    assert best_seat(plan, job("x", tenant="t", percent=55), None) is not None  # 1.25
    assert best_seat(plan, job("x", tenant="t", percent=56), None) is None


def test_a_job_joins_only_where_it_adds_something() -> None:
    # Two jobs of 70: slowdown 1.4, speeds add up to 1.43: 0.43 more than one alone.
    there = placed(job("there", percent=70, seconds=100.0), "w1", NOW)
    policy = replace(POLICY, minimum_gain=0.43)
    at = draft([worker(base="a")], [there], policy)
    assert seat_on(at, job("x", percent=70), "w1") is None
    policy = replace(POLICY, minimum_gain=0.42)
    at = draft([worker(base="a")], [there], policy)
    assert seat_on(at, job("x", percent=70), "w1").gain == pytest.approx(2 / 1.4 - 1)


def test_a_job_that_is_gone_before_the_first_ends_joins_all_the_same() -> None:
    there = placed(job("there", percent=100, seconds=500.0), "w1", NOW)
    policy = replace(POLICY, minimum_gain=0.9)
    at = draft([worker(base="a")], [there], policy)
    assert seat_on(at, job("x", percent=100, seconds=500.0), "w1") is not None
    assert seat_on(at, job("x", percent=100, seconds=501.0), "w1") is None


@pytest.mark.parametrize(
    "change",
    [
        {"alone": True},
        {"avoids": ("w1",)},
        {"base_model": "b"},
        {"base_model": "unknown"},
    ],
)
def test_who_may_not_join(change) -> None:
    at = draft([worker(base="a")], [placed(job("there", percent=20), "w1")])
    assert seat_on(at, job("x", percent=20), "w1") is not None
    assert seat_on(at, replace(job("x", percent=20), **change), "w1") is None


def test_a_worker_that_is_drained_or_does_not_offer_the_base_takes_nobody() -> None:
    views = [replace(worker("w1"), draining=True), replace(worker("w2"), bases=frozenset({"b"}))]
    assert best_seat(draft(views), job("x"), None) is None


def test_a_limit_counts_the_job_itself_and_what_it_could_take() -> None:
    policy = replace(POLICY, tenants={"t": TenantPolicy(limit=1.0)})
    # It takes 60 of a worker that it shares: 0.6 now, and 0.6 if the other leaves.
    mine = placed(job("mine", percent=60), "w1")
    at = draft([worker("w1", base="a"), worker("w2", base="a")], [mine], policy)
    assert within_limit(at, job("x", percent=40), at.cluster.workers["w2"])
    assert not within_limit(at, job("x", percent=41), at.cluster.workers["w2"])
    # On the worker where it is, it takes one worker at most.
    assert within_limit(at, job("x", percent=90), at.cluster.workers["w1"])
    assert not within_limit(at, job("x", percent=90, took=10), at.cluster.workers["w2"])


def test_a_plan_counts_what_it_has_given_already() -> None:
    policy = replace(POLICY, tenants={"t": TenantPolicy(limit=1.0)})
    at = draft([worker("w1", base="a"), worker("w2", base="b")], policy=policy)
    at.join(job("x", percent=60), at.cluster.workers["w1"], "")
    assert best_seat(at, job("y", base="b", percent=60), None) is None
    assert best_seat(at, job("y", base="b", percent=60, tenant="u"), None) is not None


def test_a_reserved_worker_takes_only_who_may_stay_for_a_while() -> None:
    policy = replace(POLICY, minimum_run_seconds=120.0)
    kept = [Reservation("starved", "w1", NOW + 120.0)]
    at = draft([worker(base="a")], policy=policy, reserved=kept)
    assert seat_on(at, job("x", seconds=9000.0), "w1") is not None
    kept = [Reservation("starved", "w1", NOW + 119.0)]
    at = draft([worker(base="a")], policy=policy, reserved=kept)
    assert seat_on(at, job("x", seconds=9000.0), "w1") is None
    assert seat_on(at, job("x", seconds=59.0), "w1") is not None  # gone if it takes twice as long
    assert seat_on(at, job("starved", seconds=9000.0), "w1") is not None


def test_a_full_worker_is_closed_to_all() -> None:
    there = [placed(job(n, percent=100, seconds=500.0), "w1", NOW) for n in "ab"]
    at = draft([worker(base="a")], there)
    assert is_closed(at, "w1", 0.0)
    at = draft([worker(base="a")], there[:1])
    assert not is_closed(at, "w1", 600.0)
    assert not is_closed(draft([worker()]), "w1", 600.0)
