"""What a plan in the making leaves of the workers. They have 100 bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cluster_world import Figures, job, placed, worker

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Reservation, WorkerView
from pando_scheduler.plan import Join, Leave, Plan
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy

NOW = 1000.0
POLICY = Policy(
    classes={priority: ClassPolicy(300.0, 2.0) for priority in Priority},
    usage_half_life_seconds=1000.0,
    fairness=1.0,
)


def draft_of(
    *things: WorkerView | JobView,
    policy: Policy = POLICY,
    reserved: tuple[Reservation, ...] = (),
) -> Draft:
    cluster = Cluster(policy, Figures())
    for thing in things:
        if isinstance(thing, WorkerView):
            cluster.put_worker(thing, NOW)
        else:
            cluster.put_job(thing, NOW)
    cluster.reservations = {found.job_id: found for found in reserved}
    return Draft(cluster, NOW)


def leave(draft: Draft, job: JobView) -> None:
    draft.leave(job, YieldCause.DRAIN, "it must")


def test_nothing_decided_is_an_empty_plan() -> None:
    assert draft_of(worker()).plan() == Plan()
    assert not Plan()


def test_who_joins_is_counted_and_the_cluster_is_left_alone() -> None:
    at = draft_of(worker(), placed(job("there", percent=80, took=20), "w1", NOW))
    before = at.cluster.loads["w1"]
    at.join(job("x", percent=80, took=30, seconds=100.0), at.cluster.workers["w1"], "why")
    load = at.load("w1")
    assert (load.count, load.demand, load.footprint.device_bytes) == (2, pytest.approx(1.6), 50)
    # Together all take 1.6 times as long; it is the first to end.
    assert load.shortest == pytest.approx(NOW + 160.0)
    assert at.cluster.loads["w1"] is before
    assert at.loads().keys() == {"w1"}
    assert set(at.here("w1")) == {"there", "x"}
    assert set(at.staying("w1")) == {"there"}  # it has not begun
    assert at.plan() == Plan(joins=(Join("x", "w1", "why"),))


def test_who_leaves_is_not_counted_any_more() -> None:
    there = placed(job("there", percent=50), "w1")
    leaving = replace(placed(job("leaving"), "w1"), yielding=True)
    at = draft_of(worker(base="a"), there, leaving)
    assert set(at.staying("w1")) == {"there"}
    leave(at, there)
    assert at.staying("w1") == {}
    # Whoever leaves already still has its memory.
    assert set(at.here("w1")) == {"leaving"}
    assert at.load("w1").count == 1
    assert at.plan().leaves == (Leave("there", "w1", YieldCause.DRAIN, "it must"),)
    assert at.cluster.loads["w1"].count == 2


def test_who_joins_a_worker_stays_counted_when_another_leaves_it() -> None:
    there = placed(job("there", took=20, percent=50), "w1")
    at = draft_of(worker(), there)
    at.join(job("x", took=30, percent=40), at.cluster.workers["w1"], "")
    leave(at, there)
    assert (at.load("w1").count, at.load("w1").footprint.device_bytes) == (1, 30)


def test_a_worker_that_the_plan_has_emptied_is_idle_with_its_old_base() -> None:
    there = placed(job("there", percent=50), "w1")
    at = draft_of(worker("w1", 50, "a"), worker("w2", 100, "a"), there)
    assert list(at.idle("a")) == ["w2"]
    assert list(at.busy("a")) == [(4, ["w1"])]
    leave(at, there)
    assert list(at.idle("a")) == ["w2", "w1"]
    assert list(at.busy("a")) == []
    at.join(job("x", base="b", percent=25), at.cluster.workers["w1"], "")
    assert list(at.idle("a")) == ["w2"]
    assert list(at.busy("b")) == [(2, ["w1"])]
    at.join(job("y", base="b", percent=25), at.cluster.workers["w1"], "")
    assert list(at.busy("b")) == [(4, ["w1"])]
    assert set(at.loads()) == {"w1"}


def test_what_tenants_take_goes_up_and_down_with_their_jobs() -> None:
    there = placed(job("there", percent=80), "w1")
    at = draft_of(worker("w1"), worker("w2"), there)
    assert at.tenant_use("t") == pytest.approx(0.8)
    at.join(job("x", percent=50), at.cluster.workers["w2"], "")
    assert at.tenant_use("t") == pytest.approx(1.3)
    leave(at, there)
    assert at.tenant_use("t") == pytest.approx(0.5)
    assert at.tenant_use("u") == 0.0


def test_claims_are_what_a_tenant_would_take_if_the_others_left() -> None:
    policy = replace(POLICY, tenants={"t": TenantPolicy(limit=9.0)})
    mine, other = placed(job("x", percent=60), "w1"), placed(job("y", tenant="u"), "w1")
    at = draft_of(worker("w1"), worker("w2"), mine, other, policy=policy)
    w1, w2 = at.cluster.workers["w1"], at.cluster.workers["w2"]
    more = job("z", percent=30)
    assert at.claim_with(more, w2) == pytest.approx(0.6 + 0.3)
    assert at.claim_with(more, w1) == pytest.approx(0.9)
    assert at.claim_with(job("z", percent=70), w1) == pytest.approx(1.0)  # one worker at most
    at.join(more, w2, "")
    assert at.claim_with(job("z2", percent=30), w2) == pytest.approx(0.6 + 0.6)
    leave(at, mine)
    assert at.claim_with(job("z2", percent=30), w2) == pytest.approx(0.6)


def test_a_reservation_ends_when_its_job_comes_to_a_place() -> None:
    known, new = Reservation("x", "w1", 9.0), Reservation("y", "w2", 9.0)
    at = draft_of(worker("w1"), worker("w2"), reserved=(known,))
    at.reserve(new)
    assert at.keepers == {"w1": known, "w2": new}
    assert at.plan().reserved == (new,)
    at.join(job("x"), at.cluster.workers["w2"], "")
    at.join(job("y"), at.cluster.workers["w1"], "")
    assert at.keepers == {}
    # One that was made in this plan need not be given up.
    assert (at.plan().reserved, at.plan().released) == ((), ("x",))
    assert at.cluster.reservations == {"x": known}


def test_levels_are_of_those_who_wait_or_train() -> None:
    at = draft_of(worker(), placed(job("x", tenant="t"), "w1"), job("y", tenant="u"))
    at.cluster.accounts.meters["gone"] = at.cluster.accounts.meters["t"]
    assert at.levels() == {"t": 0, "u": 0}
