"""Who is entitled to another's place: by a guarantee first, then by class, then as far shorter."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import Figures, job, placed, worker

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView
from pando_scheduler.taking import Takers
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy

NOW = 100_000.0
POLICY = Policy(
    classes={
        Priority.HIGH: ClassPolicy(0.0, 2.0),
        Priority.NORMAL: ClassPolicy(300.0, 2.0),
        Priority.LOW: ClassPolicy(None, 2.0),
    },
    starvation_seconds=50_000.0,
    minimum_run_seconds=120.0,
    max_preemptions=3,
    preempt_longer=2.0,
    minimum_gain=0.25,
    fairness=0.0,
)
OWNED = replace(POLICY, tenants={"owner": TenantPolicy(guaranteed=1.0)})


def draft(
    policy: Policy = POLICY, left: float = 10_000.0, slowed: float = 1.0, **fields: object
) -> Draft:
    """A worker that one job keeps busy and fills, and has for 1,000 s; alone it would be gone so
    many times sooner."""
    cluster = Cluster(policy, Figures())
    cluster.put_worker(worker(base="a"), NOW)
    alone = {"took": 90, "percent": 100, "at": NOW - 1000.0, "seconds": left / slowed}
    there = job("there", **{**alone, **fields})  # type: ignore[arg-type]
    cluster.put_job(replace(placed(there, "w1", NOW - 1000.0), ends_at=NOW + left), NOW)
    return Draft(cluster, NOW)


def waits(
    name: str = "x", since: float = 10.0, seconds: float = 9000.0, **fields: object
) -> JobView:
    return job(name, took=90, percent=100, at=NOW - since, seconds=seconds, **fields)  # type: ignore[arg-type]


def cause(at: Draft, taker: JobView) -> YieldCause | None:
    """Why another leaves for it, if one does."""
    if not Takers(at).take(taker):
        assert at.plan().leaves == at.plan().joins == ()
        return None
    (left,), (joined,) = at.plan().leaves, at.plan().joins
    assert left.job_id == "there"
    assert (joined.job_id, joined.worker_id) == (taker.id, "w1")
    return left.cause


def test_nobody_is_entitled_by_waiting_a_little() -> None:
    assert cause(draft(), waits()) is None


def test_a_higher_class_is_when_its_patience_is_over() -> None:
    assert cause(draft(rank=Priority.LOW), waits(since=300.0)) is YieldCause.PRIORITY
    assert cause(draft(rank=Priority.LOW), waits(since=299.0)) is None
    assert cause(draft(), waits(since=300.0)) is None  # of the same class
    assert cause(draft(), waits(since=0.0, rank=Priority.HIGH)) is YieldCause.PRIORITY
    assert cause(draft(rank=Priority.LOW), waits(since=9000.0, rank=Priority.LOW)) is None


def test_a_far_shorter_job_is_at_once() -> None:
    assert cause(draft(), waits(since=0.0, seconds=5000.0)) is YieldCause.SHORTER
    assert cause(draft(), waits(since=0.0, seconds=5001.0)) is None
    # One that its neighbours slow down is not longer for it.
    assert cause(draft(slowed=2.0), waits(since=0.0, seconds=5000.0)) is None
    assert cause(draft(slowed=2.0), waits(since=0.0, seconds=2500.0)) is YieldCause.SHORTER
    never = replace(POLICY, preempt_longer=None)
    assert cause(draft(never), waits(seconds=5000.0)) is None


def test_a_guarantee_comes_before_all() -> None:
    short_and_high = waits(tenant="owner", rank=Priority.HIGH, seconds=60.0)
    assert cause(draft(OWNED), short_and_high) is YieldCause.RECLAIM
    # What no guarantee brings may come by class, and what no class brings by length.
    owner_there = {"tenant": "owner"}
    assert cause(draft(OWNED, **owner_there), short_and_high) is YieldCause.PRIORITY
    short = waits(tenant="owner", seconds=60.0)
    assert cause(draft(OWNED, **owner_there), short) is YieldCause.SHORTER
    assert cause(draft(OWNED, **owner_there), waits(tenant="owner")) is None


def test_a_guarantee_takes_nothing_from_a_higher_class() -> None:
    assert cause(draft(OWNED, rank=Priority.HIGH), waits(tenant="owner")) is None
    assert cause(draft(OWNED), waits(tenant="owner", rank=Priority.LOW)) is None


def test_after_some_that_tried_in_vain_those_entitled_alike_do_not() -> None:
    at = draft()
    takers = Takers(at)
    # Too long for the job that is there, over and over; one that is short enough comes too late.
    for number in range(10):
        assert not takers.take(waits(f"x{number}"))
    assert not takers.take(waits("short", seconds=60.0))
    # Others are not held up: of another class, or in the next plan.
    assert takers.take(waits("high", rank=Priority.HIGH, seconds=60.0))
    assert Takers(draft()).take(waits("short", seconds=60.0))
