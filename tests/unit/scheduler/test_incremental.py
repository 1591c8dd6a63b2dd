"""A plan looks at what has changed since the last, and leaves alone what has not."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import POLICY as BY_DEFAULT
from cluster_world import LittleWorld, job, worker

from pando_scheduler.schedule import schedule
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import Policy, TenantPolicy

POLICY = replace(BY_DEFAULT, starvation_seconds=86_400.0, preempt_longer=None, fairness=0.0)


def full(count: int = 1, policy: Policy = POLICY, **fields: object) -> LittleWorld:
    """Workers that a job each keeps busy and fills, settled."""
    world = LittleWorld([worker(f"w{i}", base="a") for i in range(count)], policy)
    for i in range(count):
        long = {"took": 90, "percent": 100, "seconds": 90_000.0, **fields}
        world.add(job(f"long{i}", **long))  # type: ignore[arg-type]
    assert len(world.plan().joins) == count
    assert not world.plan()
    return world


def where(world: LittleWorld) -> dict[str, str | None]:
    return {one.id: one.worker_id for one in world.cluster.placed()}


def test_a_job_that_finds_no_room_comes_in_when_a_worker_changes() -> None:
    world = full(2)
    world.add(job("x", took=90, percent=100, at=world.now, seconds=90_000.0))
    for _ in range(5):
        assert not world.plan()
        world.train(60.0)
    world.cluster.drop_job("long1", world.now)
    assert [(one.job_id, one.worker_id) for one in world.plan().joins] == [("x", "w1")]


def test_a_worker_that_comes_is_filled_from_the_head_of_the_queue() -> None:
    world = full()
    for name, seconds in (("long", 9000.0), ("short", 600.0), ("middle", 3000.0)):
        world.add(job(name, took=40, percent=50, at=world.now, seconds=seconds))
    assert not world.plan()
    world.cluster.put_worker(worker("new", base="a"), world.now)
    assert [one.job_id for one in world.plan().joins] == ["short", "middle"]
    assert not world.plan()


def test_what_is_small_passes_what_is_too_large() -> None:
    world = LittleWorld([worker(budget=40, base="a")], POLICY)
    large = job("large", took=31, percent=50, seconds=60.0)  # the base takes 10
    world.add(large, job("small", took=30, percent=50, seconds=9000.0))
    assert [one.job_id for one in world.plan().joins] == ["small"]
    assert not world.plan()


def test_what_is_asked_for_less_than_before_is_looked_at_again() -> None:
    world = LittleWorld([worker(budget=40, base="a")], POLICY)
    held = replace(job("x", took=31), held=None)
    world.add(held)
    assert not world.plan()
    world.cluster.put_job(replace(held, size=job("y", took=30).size), world.now)
    assert [one.job_id for one in world.plan().joins] == ["x"]


def test_planning_changes_nothing() -> None:
    world = full(rank=Priority.LOW)
    world.add(job("high", took=90, percent=100, rank=Priority.HIGH, at=world.now, seconds=90_000.0))
    first = schedule(world.cluster, world.now)
    assert first
    assert schedule(world.cluster, world.now) == first
    assert where(world) == {"long0": "w0"}


def test_a_worker_is_drained_of_those_who_train_and_gets_nobody() -> None:
    world = full()
    drained = replace(world.cluster.workers["w0"], draining=True)
    world.cluster.put_worker(drained, world.now)
    world.add(job("x", at=world.now))
    plan = schedule(world.cluster, world.now)
    assert [(one.job_id, one.cause) for one in plan.leaves] == [("long0", YieldCause.DRAIN)]
    assert plan.joins == ()
    # One that has been told so already is not told again.
    (there,) = world.cluster.placed()
    world.cluster.put_job(replace(there, yielding=True), world.now)
    assert not schedule(world.cluster, world.now)
    world.cluster.put_worker(replace(drained, draining=False), world.now)
    world.cluster.drop_job("long0", world.now)
    assert [one.job_id for one in world.plan().joins] == ["x"]


def test_no_tenant_comes_to_have_more_than_its_limit() -> None:
    limited = replace(POLICY, tenants={"t": TenantPolicy(limit=1.5)})
    world = LittleWorld([worker(f"w{i}", base="a") for i in range(3)], limited)
    world.add(*[job(f"x{i}", percent=70, took=60, seconds=600.0) for i in range(4)])
    # 0.7 each: two are 1.4, and three would be 2.1.
    assert [one.job_id for one in world.plan().joins] == ["x0", "x1"]
    assert not world.plan()
    world.train(600.0)
    assert [one.job_id for one in world.plan().joins] == ["x2", "x3"]
    world.add(job("y", tenant="u", percent=70, at=world.now))
    assert [one.job_id for one in world.plan().joins] == ["y"]
    assert world.cluster.accounts.in_use["t"] <= 1.5


def test_one_that_leaves_for_many_passes_makes_room_for_them_all() -> None:
    count = 20
    world = full(count, tenant="u", rank=Priority.LOW)
    for number in range(count):
        high = job(f"high{number:02}", took=90, percent=100, rank=Priority.HIGH, seconds=90_000.0)
        world.add(high)
    causes = []
    for _ in range(6):
        causes += [one.cause for one in world.plan().leaves]
        world.train(30.0)
    assert causes == [YieldCause.PRIORITY] * count
    assert sorted(where(world)) == [f"high{number:02}" for number in range(count)]


def test_a_reserved_worker_is_for_its_job_once_it_is_free() -> None:
    world = full(seconds=300.0)
    world.add(
        job("starved", base="b", took=90, percent=100, at=-90_000.0, seconds=9000.0),
        job("x", took=90, percent=100, seconds=60.0),
    )
    plan = world.plan()
    # It is free at 300 s, of those 600 s within which it must be.
    assert [(one.job_id, one.due) for one in plan.reserved] == [("starved", 300.0)]
    assert not world.plan()
    world.train(300.0)
    assert where(world) == {}
    plan = world.plan()
    assert [one.job_id for one in plan.joins] == ["starved"]
    assert plan.released == ("starved",)
    assert world.cluster.reservations == {}


def test_of_workers_that_have_changed_the_fullest_with_room_comes_first() -> None:
    world = LittleWorld([worker("w1", 40, base="a"), worker("w2", 60, base="a")], POLICY)
    small = [
        job("short", took=30, percent=10, seconds=30.0),
        job("stays", took=40, percent=10, seconds=900.0),
    ]
    world.add(*small)
    world.settle()
    assert where(world) == {"short": "w1", "stays": "w2"}
    late = job("late", took=20, percent=10, seconds=900.0)
    world.add(late)
    assert not world.plan()  # both are full
    world.train(40.0)
    world.cluster.put_worker(worker("w2", 90, base="a"), world.now)
    (join,) = world.plan().joins
    assert (join.job_id, join.worker_id) == ("late", "w2")  # and not the idle one


def test_whoever_waits_for_their_tenants_limit_alone_is_looked_at_when_its_job_leaves() -> None:
    limited = replace(POLICY, tenants={"z": TenantPolicy(limit=1.0)}, minimum_run_seconds=0.0)
    world = LittleWorld([worker("w1", 40, base="b"), worker("w2", 60, base="a")], limited)
    low = Priority.LOW
    world.add(
        job("z1", tenant="z", base="b", rank=low, took=5, percent=100, seconds=9000.0),
        job("x1", rank=low, took=5, percent=10, seconds=9000.0),
        job("z2", tenant="z", rank=low, took=5, percent=10, seconds=9000.0),
    )
    world.settle()
    assert where(world) == {"z1": "w1", "x1": "w2"}
    world.add(job("high", tenant="z", rank=Priority.HIGH, took=5, percent=10, seconds=30.0))
    plan = world.plan()
    assert [leave.job_id for leave in plan.leaves] == ["z1"]
    assert where(world)["z2"] == "w2"
