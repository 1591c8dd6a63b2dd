from dataclasses import replace

from cluster_world import POLICY, LittleWorld, job, worker

from pando_scheduler.schedule import schedule
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import TenantPolicy

QUIET = replace(POLICY, preempt_longer=None)


def where(world):
    return {one.id: one.worker_id for one in world.cluster.placed()}


def test_nothing_to_do_is_an_empty_plan() -> None:
    world = LittleWorld([worker()])
    assert not world.plan()
    assert not schedule(LittleWorld([]).cluster, 0.0)


def test_everybody_who_fits_comes_to_a_place_at_once() -> None:
    world = LittleWorld([worker("w1", base="a"), worker("w2", base="b")])
    world.add(job("x", percent=50), job("y", percent=50), job("z", base="b", percent=50))
    plan = world.plan()
    assert not plan.leaves
    assert where(world) == {"x": "w1", "y": "w1", "z": "w2"}


def test_a_job_of_another_base_waits_until_a_worker_is_idle() -> None:
    world = LittleWorld([worker(base="a")], QUIET)
    world.add(job("x", percent=50, seconds=100.0))
    world.plan()
    world.add(job("y", base="b", percent=50))
    assert not world.plan()
    world.train(100.0)
    world.plan()
    assert where(world) == {"y": "w1"}
    assert world.cluster.workers["w1"].base_model == "b"


def test_what_has_not_changed_is_not_looked_at_again() -> None:
    world = LittleWorld([worker(base="a")], QUIET)
    world.add(job("x", percent=100), job("y", percent=100))
    world.settle()
    world.predict = world.cluster.predict
    asked = []
    original = type(world.predict).needs

    class Watched(type(world.predict)):
        def needs(self, *given):
            asked.append(given)
            return original(self, *given)

    world.cluster.predict = Watched()
    assert not schedule(world.cluster, world.now)
    assert not asked


def test_a_drained_worker_is_emptied_and_left_alone() -> None:
    world = LittleWorld([worker("w1", base="a")])
    world.add(job("x"), job("y"))
    world.plan()
    drained = replace(world.cluster.workers["w1"], draining=True)
    world.cluster.put_worker(drained, world.now)
    plan = world.plan()
    assert {(one.job_id, one.cause) for one in plan.leaves} == {
        ("x", YieldCause.DRAIN),
        ("y", YieldCause.DRAIN),
    }
    assert not world.plan()
    world.cluster.put_worker(worker("w2"), world.now)
    world.plan()
    assert where(world) == {"x": "w2", "y": "w2"}


def test_a_high_job_starts_at_once_on_full_workers() -> None:
    world = LittleWorld([worker(base="a")])
    world.add(job("low", percent=100, rank=Priority.LOW, seconds=9000.0))
    world.plan()
    world.train(1.0)
    world.add(job("high", percent=100, rank=Priority.HIGH, at=world.now, seconds=50_000.0))
    plan = world.plan()
    assert [(one.job_id, one.cause) for one in plan.leaves] == [("low", YieldCause.PRIORITY)]
    assert where(world) == {"high": "w1"}


def test_patience_runs_out_without_any_news() -> None:
    world = LittleWorld([worker(base="a")], QUIET)
    world.add(job("low", percent=100, rank=Priority.LOW, seconds=90_000.0))
    world.plan()
    world.add(job("x", percent=100, at=world.now, seconds=99_000.0))
    assert not world.plan()
    world.train(299.0)
    assert not world.plan()
    world.train(1.0)
    assert [one.job_id for one in world.plan().leaves] == ["low"]


def test_whoever_waits_may_have_what_its_tenant_frees_under_its_limit() -> None:
    policy = replace(QUIET, tenants={"t": TenantPolicy(limit=1.0)})
    world = LittleWorld([worker("w1", base="a"), worker("w2", base="a")], policy)
    world.add(job("x", percent=100, seconds=60.0), job("y", percent=100, at=1.0))
    world.settle()
    assert set(where(world)) == {"x"}
    world.train(60.0)
    world.settle()
    assert set(where(world)) == {"y"}


def test_what_others_leave_free_is_for_whoever_comes_first() -> None:
    # The long one leaves for the first; the other half is for the second, not for the third.
    world = LittleWorld([worker(base="a")])
    world.add(job("long", percent=100, seconds=90_000.0))
    world.plan()
    world.train(200.0)
    at = world.now
    world.add(
        job("second", percent=50, at=at, seconds=700.0),
        job("first", percent=50, at=at, seconds=500.0),
        job("third", percent=50, at=at, seconds=7000.0),
    )
    plan = world.plan()
    assert [one.job_id for one in plan.leaves] == ["long"]
    assert [one.job_id for one in plan.joins] == ["first", "second"]


def test_a_policys_change_is_looked_at_for_everybody() -> None:
    policy = replace(QUIET, tenants={"t": TenantPolicy(limit=0.0)})
    world = LittleWorld([worker()], policy)
    world.add(job("x"))
    assert not world.plan()
    world.cluster.set_policy(QUIET, world.now)
    assert [one.job_id for one in world.plan().joins] == ["x"]


def test_a_held_job_waits() -> None:
    world = LittleWorld([worker()])
    world.add(replace(job("x"), held="its rung is not decided"))
    assert not world.plan()
    world.cluster.put_job(job("x"), world.now)
    assert world.plan().joins
