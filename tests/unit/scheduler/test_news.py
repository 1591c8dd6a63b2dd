"""What makes a plan look again at jobs and workers that the last one had settled."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import POLICY as BY_DEFAULT
from cluster_world import LittleWorld, job, worker

from pando_shared.jobs import Priority

POLICY = replace(BY_DEFAULT, starvation_seconds=86_400.0, preempt_longer=None, fairness=0.0)


def joined(world: LittleWorld) -> list[tuple[str, str]]:
    return [(j.job_id, j.worker_id) for j in world.plan().joins]


def kept(second: bool = False) -> LittleWorld:
    """w1 half in use; it is kept for one that must be alone, due at 600; x comes at 550."""
    world = LittleWorld([worker("w1", base="a")], POLICY)
    world.add(job("long1", tenant="u", percent=50, seconds=90_000.0))
    world.plan()
    if second:
        world.cluster.put_worker(worker("w2", base="a"), 0.0)
        world.add(job("long2", tenant="u", percent=100, took=90, seconds=91_000.0))
    world.plan()
    starved = job("starved", percent=100, at=-90_000.0, seconds=9000.0)
    world.add(replace(starved, alone=True))
    assert [(r.worker_id, r.due) for r in world.plan().reserved] == [("w1", 600.0)]
    world.train(550.0)
    world.plan()
    world.add(job("x", tenant="u", percent=50, at=world.now, seconds=9000.0))
    assert not world.plan()
    return world


def test_a_cancelled_jobs_reservation_frees_its_worker() -> None:
    world = kept()
    world.cluster.drop_job("starved", world.now)
    assert joined(world) == [("x", "w1")]


def test_a_reserved_workers_job_that_comes_elsewhere_frees_it() -> None:
    world = kept(second=True)
    world.cluster.drop_job("long2", world.now)
    assert ("starved", "w2") in (found := joined(world))
    assert ("x", "w1") in found + joined(world)


def test_a_tenant_that_lost_its_last_place_may_join_elsewhere() -> None:
    world = LittleWorld([worker("w1", base="a"), worker("w2", base="b")], POLICY)
    world.add(
        job("u1", tenant="u", seconds=90_000.0),
        job("t1", seconds=100.0),
        job("u2", tenant="u", base="b", percent=100, seconds=90_000.0),
    )
    world.plan()
    world.add(job("t2", base="b", percent=100, seconds=99_000.0))
    assert not world.plan()
    world.train(100.0)
    assert joined(world) == [("t2", "w2")]


def test_a_job_that_need_not_avoid_a_worker_any_more_joins_it() -> None:
    world = LittleWorld([worker("w1", base="a"), worker("w2", base="a")], POLICY)
    world.add(replace(job("y", percent=100, took=90, seconds=90_000.0), avoids=("w1",)))
    world.plan()
    x = replace(job("x", percent=100, took=90, seconds=90_000.0), avoids=("w1",))
    world.add(x)
    assert not world.plan()
    world.cluster.drop_worker("w2", 0.0)
    world.cluster.put_job(replace(x, avoids=()), 0.0)
    assert joined(world) == [("x", "w1")]


def test_whoever_a_pass_did_not_come_to_is_looked_at_in_the_next() -> None:
    views = [worker(f"w{i:02}", base="a") for i in range(16)]
    only_b = replace(worker("z", base="b"), bases=frozenset({"b"}))
    world = LittleWorld([*views, only_b], POLICY)
    full = {"took": 90, "percent": 100, "seconds": 90_000.0}
    world.add(*[job(f"low{i}", rank=Priority.LOW, **full) for i in range(16)])
    world.plan()
    world.add(
        *[job(f"high{i}", rank=Priority.HIGH, **full) for i in range(16)],
        job("b", base="b", rank=Priority.LOW, seconds=60_000.0),
    )
    assert ("b", "z") in joined(world) + joined(world)
