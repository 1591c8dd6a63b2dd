from dataclasses import replace

import pytest
from cluster_world import POLICY, Figures, job, placed, worker

from pando_scheduler import preemption
from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_shared.jobs import Priority
from pando_shared.policy import TenantPolicy

NOW = 100_000.0
LONG_AGO = NOW - 50_000.0


def draft(workers, jobs=(), policy=POLICY):
    cluster = Cluster(policy, Figures())
    for one in workers:
        cluster.put_worker(one, LONG_AGO)
    for one in jobs:
        cluster.put_job(one, LONG_AGO)
    cluster.accounts.meters.clear()  # nobody is over its share
    return Draft(cluster, NOW)


def there(name, worker_id="w1", left=10_000.0, since=NOW - 1000.0, **fields):
    """A job that has trained since then, with so much left."""
    view = job(name, at=since, **{"percent": 100, **fields}, seconds=left)
    return replace(placed(view, worker_id, since), ends_at=NOW + left)


def waits(name, **fields):
    return job(name, at=NOW - 10.0, **{"percent": 100, "seconds": 600.0, **fields})


def victims(eviction):
    return None if eviction is None else [one.id for one in eviction.victims]


def test_a_far_shorter_job_takes_the_place_of_the_longest() -> None:
    jobs = [there("long", "w1", left=5000.0), there("longer", "w2", left=9000.0)]
    at = draft([worker("w1", base="a"), worker("w2", base="a")], jobs)
    assert victims(preemption.for_shorter(at, waits("x"))) == ["longer"]


@pytest.mark.parametrize(("left", "leaves"), [(1200.0, True), (1199.0, False)])
def test_it_must_have_twice_as_long_left(left, leaves) -> None:
    at = draft([worker(base="a")], [there("long", left=left)])
    assert (preemption.for_shorter(at, waits("x", seconds=600.0)) is not None) == leaves


def test_times_count_by_the_tenants_levels() -> None:
    at = draft([worker(base="a")], [there("long", tenant="modest", left=2400.0)])
    at._levels = {"modest": -2, "t": 0}
    assert preemption.for_shorter(at, waits("x")) is None
    at._levels = {"modest": 0, "t": -2}
    assert victims(preemption.for_shorter(at, waits("x"))) == ["long"]


@pytest.mark.parametrize(
    ("times", "since", "leaves"),
    [(0, 120.0, True), (0, 119.0, False), (3, 960.0, True), (3, 959.0, False)],
)
def test_it_trains_undisturbed_for_twice_as_long_each_time(times, since, leaves) -> None:
    long = replace(there("long", since=NOW - since), preemptions=times)
    at = draft([worker(base="a")], [long])
    assert (preemption.for_shorter(at, waits("x")) is not None) == leaves


def test_one_that_had_starved_keeps_its_place_for_a_turn() -> None:
    policy = replace(POLICY, starvation_seconds=3600.0, reservation_seconds=600.0)
    long = replace(there("long", since=NOW - 599.0), queued_at=NOW - 599.0 - 3600.0)
    assert preemption.for_shorter(draft([worker(base="a")], [long], policy), waits("x")) is None
    long = replace(there("long", since=NOW - 600.0), queued_at=NOW - 600.0 - 3600.0)
    assert preemption.for_shorter(draft([worker(base="a")], [long], policy), waits("x")) is not None


def test_nobody_leaves_for_a_shorter_job_of_a_lower_class_or_where_it_is_turned_off() -> None:
    at = draft([worker(base="a")], [there("long")])
    assert preemption.for_shorter(at, waits("x", rank=Priority.LOW)) is None
    off = draft([worker(base="a")], [there("long")], replace(POLICY, preempt_longer=None))
    assert preemption.for_shorter(off, waits("x")) is None


def test_only_as_many_leave_as_must() -> None:
    # 100 bytes: the base takes 10 and 30 + 30 are in use, so that 30 are free.
    jobs = [
        there("a", percent=20, took=30, left=9000.0),
        there("b", percent=20, took=30, left=8000.0),
    ]
    at = draft([worker(base="a")], jobs)
    assert victims(preemption.for_shorter(at, waits("x", percent=20, took=60))) == ["a"]
    assert victims(preemption.for_shorter(at, waits("x", percent=20, took=61))) == ["a", "b"]
    assert preemption.for_shorter(at, waits("x", percent=20, took=91)) is None


def test_another_base_needs_all_to_leave() -> None:
    jobs = [there("a", percent=20), there("b", percent=20)]
    at = draft([worker(base="a")], jobs)
    assert victims(preemption.for_shorter(at, waits("x", base="b"))) == ["a", "b"]
    jobs[1] = there("b", percent=20, left=700.0)
    at = draft([worker(base="a")], jobs)
    assert preemption.for_shorter(at, waits("x", base="b")) is None


def test_a_higher_class_takes_from_the_lowest() -> None:
    jobs = [there("normal", "w1"), there("low", "w2", rank=Priority.LOW, since=NOW - 10.0)]
    workers = [worker("w1", base="a"), worker("w2", base="a")]
    high = waits("x", rank=Priority.HIGH, seconds=99_000.0)
    # The class of no patience does not wait for a minimum run either.
    assert preemption.may_preempt(draft(workers, jobs), high)
    assert preemption.for_priority(draft(workers, jobs), high) is not None
    normal = waits("y", seconds=99_000.0)
    assert not preemption.may_preempt(draft(workers, jobs), normal)  # not for 300 s yet
    assert preemption.for_priority(draft(workers, jobs), normal) is None  # low has run for 10 s
    jobs[1] = there("low", "w2", rank=Priority.LOW)
    assert victims(preemption.for_priority(draft(workers, jobs), normal)) == ["low"]
    worn = replace(jobs[1], preemptions=POLICY.max_preemptions)
    assert preemption.for_priority(draft(workers, [jobs[0], worn]), normal) is None


def test_a_guarantee_is_taken_back_from_who_has_borrowed() -> None:
    tenants = {"owner": TenantPolicy(guaranteed=1.0), "modest": TenantPolicy(guaranteed=1.0)}
    policy = replace(POLICY, tenants=tenants)
    workers = [worker("w1", base="a"), worker("w2", base="a")]
    jobs = [there("m", "w1", tenant="modest"), there("borrowed", "w2", tenant="guest")]
    at = draft(workers, jobs, policy)
    mine = waits("x", tenant="owner", seconds=99_000.0)
    assert victims(preemption.for_guarantee(at, mine)) == ["borrowed"]
    assert preemption.for_guarantee(at, waits("y", tenant="guest")) is None
    # Whoever has its guarantee in use gets no more by it.
    jobs = [there("o", "w1", tenant="owner"), there("borrowed", "w2", tenant="guest")]
    assert preemption.for_guarantee(draft(workers, jobs, policy), mine) is None


def test_reclaiming_does_not_eat_into_another_guarantee() -> None:
    tenants = {"owner": TenantPolicy(guaranteed=1.0), "other": TenantPolicy(guaranteed=0.5)}
    policy = replace(POLICY, tenants=tenants)
    # `other` uses 1 of its 0.5: none of its jobs of 0.6 and 0.4 but the latter may go.
    jobs = [
        there("large", percent=60, tenant="other", left=9000.0),
        there("small", percent=40, tenant="other", left=8000.0),
    ]
    at = draft([worker(base="a")], jobs, policy)
    small = waits("x", tenant="owner", percent=40, seconds=99_000.0)
    assert victims(preemption.for_guarantee(at, small)) == ["small"]
    whole = waits("x", tenant="owner", percent=100, base="b", seconds=99_000.0)
    assert preemption.for_guarantee(at, whole) is None


def test_a_limit_holds_for_who_takes_places_too() -> None:
    policy = replace(POLICY, tenants={"t": TenantPolicy(limit=0.5)})
    at = draft([worker(base="a")], [there("long", tenant="u")], policy)
    assert preemption.for_shorter(at, waits("x", percent=60)) is None
    assert preemption.for_shorter(at, waits("x", percent=50)) is not None
