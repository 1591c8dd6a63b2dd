from dataclasses import replace

import pytest
from cluster_world import POLICY, Figures, LittleWorld, job, placed, worker

from pando_scheduler import reservations
from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import Reservation
from pando_shared.jobs import YieldCause
from pando_shared.policy import TenantPolicy

STARVE, WITHIN = 3600.0, 600.0
RULES = replace(POLICY, starvation_seconds=STARVE, reservation_seconds=WITHIN, preempt_longer=None)


def cluster(count=1, policy=RULES):
    found = Cluster(policy, Figures())
    for number in range(1, count + 1):
        found.put_worker(worker(f"w{number}", base="a"), 0.0)
    return found


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_a_quarter_of_the_workers_may_be_reserved_and_always_one(workers, most) -> None:
    assert reservations.most_reserved(cluster(workers)) == most


def test_the_promise() -> None:
    # Of 8 workers 2 are reserved at once: the fifth comes in the third turn.
    assert reservations.promised_seconds(cluster(8), 5, 60.0) == 3 * (WITHIN + 60.0)
    assert reservations.promised_seconds(cluster(8), 2, 60.0) == WITHIN + 60.0


def test_the_worker_that_is_free_soonest_is_kept() -> None:
    found = cluster(2)
    for worker_id, left in (("w1", 500.0), ("w2", 300.0)):
        found.put_job(placed(job(worker_id, percent=100, seconds=left), worker_id, 5000.0), 0.0)
    starved = job("x", at=0.0, percent=100)
    found.put_job(starved, 0.0)
    draft = Draft(found, 5000.0)
    reservations.Line(draft).reserve(starved)
    assert draft.reserved == {"x": Reservation("x", "w2", 5300.0)}


def test_nobody_waits_for_longer_than_promised_for_a_worker_that_stays_full() -> None:
    found = cluster(1)
    found.put_job(placed(job("long", percent=100, seconds=90_000.0), "w1", 5000.0), 0.0)
    starved = job("x", at=0.0)
    found.put_job(starved, 0.0)
    draft = Draft(found, 5000.0)
    reservations.Line(draft).reserve(starved)
    assert draft.reserved["x"].due == 5000.0 + WITHIN


def test_they_are_made_in_the_order_in_which_jobs_starve() -> None:
    found = cluster(1)
    found.put_job(placed(job("long", percent=100, seconds=90_000.0), "w1", 5000.0), 0.0)
    first, second = job("first", at=1.0), job("second", at=2.0)
    found.put_job(first, 0.0)
    found.put_job(second, 0.0)
    draft = Draft(found, 5000.0)
    reservations.Line(draft).reserve(second)
    assert not draft.reserved
    reservations.Line(draft).reserve(first)
    reservations.Line(draft).reserve(second)
    assert list(draft.reserved) == ["first"]


def test_one_that_no_worker_could_train_keeps_nobody_behind_it() -> None:
    found = cluster(1)
    for one in (job("huge", at=1.0, took=1000), job("second", at=2.0)):
        found.put_job(one, 0.0)
    draft = Draft(found, 5000.0)
    reservations.Line(draft).reserve(job("second", at=2.0))
    assert list(draft.reserved) == ["second"]


def test_those_whose_tenant_is_at_its_limit_keep_nobody_behind_them() -> None:
    limited = replace(RULES, tenants={"full": TenantPolicy(limit=0.5)})
    found = cluster(2, limited)
    held = job("held", tenant="full", percent=50, seconds=90_000.0)
    found.put_job(placed(held, "w1", 5000.0), 0.0)
    for number in range(5):
        found.put_job(job(f"x{number}", tenant="full", at=1.0 + number), 0.0)
    behind = job("behind", at=9.0)
    found.put_job(behind, 0.0)
    draft = Draft(found, 5000.0)
    line = reservations.Line(draft)
    assert line.first(9) == [behind]
    line.reserve(behind)
    assert list(draft.reserved) == ["behind"]


def test_it_lifts_no_limit() -> None:
    limited = replace(RULES, tenants={"t": TenantPolicy(limit=0.3)})
    found = cluster(1, limited)
    starved = job("x", at=0.0, percent=50)
    found.put_job(starved, 0.0)
    draft = Draft(found, 5000.0)
    reservations.Line(draft).reserve(starved)
    assert not draft.reserved


def test_when_it_is_due_whoever_is_in_the_way_leaves_and_the_job_has_its_turn() -> None:
    world = LittleWorld([worker(base="a")], RULES)
    long = job("long", percent=100, seconds=90_000.0)
    world.add(long)
    world.plan()
    world.add(job("starved", percent=100, at=world.now, seconds=99_000.0))
    while world.cluster.waiting.get("starved"):
        plan = world.plan()
        world.train(10.0)
        assert world.now < STARVE + WITHIN + 30.0
    (leave,) = plan.leaves
    assert leave.cause is YieldCause.RESERVATION
    assert leave.job_id == "long"
    assert world.now - 10.0 == pytest.approx(STARVE + WITHIN, abs=20.0)
    assert all(excess <= 0 for excess in world.overdue.values())


def test_it_is_given_up_with_its_job_or_its_worker() -> None:
    found = cluster(2)
    found.put_job(job("x"), 0.0)
    found.reservations = {
        "x": Reservation("x", "w1", 10.0),
        "gone": Reservation("gone", "w2", 10.0),
    }
    draft = Draft(found, 0.0)
    reservations.drop_void(draft)
    assert draft.released == {"gone"}
    found.put_worker(replace(found.workers["w1"], draining=True), 0.0)
    draft = Draft(found, 0.0)
    reservations.drop_void(draft)
    assert draft.released == {"gone", "x"}
    found.drop_worker("w1", 0.0)
    assert "x" not in found.reservations


def test_it_is_given_up_when_the_tenant_has_come_to_its_limit_otherwise() -> None:
    limited = replace(RULES, tenants={"full": TenantPolicy(limit=1.0)})
    found = cluster(2, limited)
    found.put_job(placed(job("there", tenant="full", percent=100, seconds=9e4), "w1", 5000.0), 0.0)
    kept = job("kept", tenant="full", at=1.0, percent=100)
    found.put_job(kept, 0.0)
    found.reservations = {"kept": Reservation("kept", "w2", 5000.0)}
    assert not reservations.honour(Draft(found, 5000.0), kept)
    draft = Draft(found, 5000.0)
    reservations.drop_void(draft)
    assert draft.released == {"kept"}
    # Only where its own tenant's job is may it still come.
    reservations.Line(draft).reserve(kept)
    assert draft.reserved["kept"].worker_id == "w1"
