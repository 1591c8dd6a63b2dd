from cluster_world import job

from pando_scheduler.waiting import WaitingJobs, order_key
from pando_shared.jobs import Priority


def queue(*jobs):
    waiting = WaitingJobs()
    for one in jobs:
        waiting.put(one)
    return waiting


def names(waiting, levels=None, since=-1.0, bases=None):
    return [one.id for one in waiting.in_order(levels or {}, waiting.starved(since), bases)]


def test_a_higher_class_comes_first_then_shorter_octaves_then_age() -> None:
    waiting = queue(
        job("old-long", at=1.0, seconds=7200.0),
        job("short", at=3.0, seconds=60.0),
        job("older-short", at=2.0, seconds=90.0),  # of one octave with `short`
        job("low", at=0.0, rank=Priority.LOW, seconds=1.0),
        job("high", at=9.0, rank=Priority.HIGH, seconds=9000.0),
    )
    assert names(waiting) == ["high", "older-short", "short", "old-long", "low"]


def test_a_tenants_level_counts_as_octaves_of_length() -> None:
    # 1 minute is octave 1; 7 minutes are octave 3.
    waiting = queue(
        job("heavy", tenant="over", seconds=60.0), job("light", tenant="under", seconds=420.0)
    )
    assert names(waiting) == ["heavy", "light"]
    assert names(waiting, {"over": 3}) == ["light", "heavy"]
    assert names(waiting, {"under": -3}) == ["light", "heavy"]


def test_the_starved_come_first_in_the_order_in_which_they_came() -> None:
    waiting = queue(
        job("second", at=20.0, rank=Priority.LOW, seconds=9000.0),
        job("first", at=10.0, rank=Priority.LOW, seconds=99_000.0),
        job("late", at=30.0, rank=Priority.HIGH),
    )
    assert names(waiting, since=20.0) == ["first", "second", "late"]
    assert [one.id for one in waiting.queued_between(10.0, 20.0)] == ["second"]


def test_only_some_bases_are_asked_for() -> None:
    waiting = queue(job("a1"), job("b1", base="b"), job("a2", at=1.0))
    assert names(waiting, bases={"a"}) == ["a1", "a2"]
    assert waiting.shortest_seconds("b") <= 600.0


def test_what_is_put_again_replaces_and_what_is_dropped_is_gone() -> None:
    waiting = queue(job("x", seconds=60.0), job("y", tenant="u", seconds=600.0))
    waiting.put(job("x", seconds=90_000.0))
    assert names(waiting) == ["y", "x"]
    waiting.drop("y")
    waiting.drop("y")
    assert names(waiting) == ["x"]
    assert waiting.tenants == ["t"]
    assert [one.id for one in waiting.of("t")] == ["x"]


def test_the_key_of_a_few_sorts_as_the_queue_does() -> None:
    jobs = [
        job(f"j{n}", tenant=f"t{n % 3}", at=float(n % 5), seconds=60.0 * 3**n, rank=rank)
        for n, rank in enumerate([*Priority, *Priority, *Priority])
    ]
    levels = {"t0": -2, "t1": 0, "t2": 1}
    expected = [one.id for one in sorted(jobs, key=lambda j: order_key(j, levels, 1.0))]
    assert names(queue(*jobs), levels, since=1.0) == expected
