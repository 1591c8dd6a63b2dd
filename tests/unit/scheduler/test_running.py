"""Jobs that train, in the order in which they would be asked for their places."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import job, placed

from pando_scheduler.picture import JobView
from pando_scheduler.running import RunningJobs
from pando_shared.jobs import Priority

NOW = 1000.0


def trains(name: str, left: float, **fields: object) -> JobView:
    return replace(placed(job(name, **fields), "w1"), ends_at=NOW + left)  # type: ignore[arg-type]


def running(*jobs: JobView) -> RunningJobs:
    found = RunningJobs()
    for one in jobs:
        found.put(one)
    return found


def names(
    found: RunningJobs,
    base: str = "a",
    lowest: int = 0,
    levels: dict[str, int] | None = None,
    least: float = 0.0,
) -> list[str]:
    """Of classes from `lowest` on downwards."""
    jobs = found.longest_first(base, lambda rank: rank >= lowest, levels or {}, NOW, least)
    return [one.id for one in jobs]


def test_what_has_most_left_comes_first() -> None:
    found = running(
        trains("b", 300.0), trains("a", 300.0), trains("c", 500.0, tenant="u"), trains("d", 10.0)
    )
    assert names(found) == ["c", "a", "b", "d"]


def test_what_is_left_counts_by_its_tenants_level() -> None:
    found = running(trains("x", 300.0), trains("y", 100.0, tenant="over"), trains("z", 500.0))
    # 100 · 2² = 400 is between them; 100 · 2³ = 800 is the most.
    assert names(found, levels={"over": 2}) == ["z", "y", "x"]
    assert names(found, levels={"over": 3}) == ["y", "z", "x"]
    assert names(found, levels={"t": -3}) == ["y", "z", "x"]


def test_only_down_to_the_least() -> None:
    found = running(trains("x", 300.0), trains("y", 100.0), trains("z", 200.0, tenant="u"))
    assert names(found, least=200.0) == ["x", "z"]
    assert names(found, least=201.0, levels={"u": -1}) == ["x"]
    assert names(found, least=1000.0) == []


def test_one_that_is_late_has_a_second_left() -> None:
    found = running(trains("x", -500.0), trains("y", 0.5, tenant="u"), trains("z", 2.0))
    assert names(found) == ["z", "x", "y"]
    assert names(found, levels={"u": 2}) == ["y", "z", "x"]


def test_only_a_base_and_some_classes_are_asked_for() -> None:
    found = running(
        trains("high", 900.0, rank=Priority.HIGH),
        trains("normal", 100.0),
        trains("low", 500.0, rank=Priority.LOW),
        trains("other", 700.0, base="b"),
    )
    assert found.bases() == ["a", "b"]
    assert names(found) == ["high", "low", "normal"]
    assert names(found, lowest=Priority.NORMAL.rank) == ["low", "normal"]
    assert names(found, "b") == ["other"]
    assert names(found, "c") == []


def test_what_is_put_again_replaces() -> None:
    one = trains("x", 300.0)
    found = running(one, trains("y", 200.0))
    found.put(replace(one, ends_at=NOW + 100.0))
    assert names(found) == ["y", "x"]
    # With its end as before, what else has changed is known.
    newer = replace(one, ends_at=NOW + 100.0, preemptions=3)
    found.put(newer)
    assert list(found.longest_first("a", lambda rank: True, {}, NOW))[1] is newer
    found.put(replace(newer, rank=Priority.LOW.rank))
    assert names(found, lowest=Priority.LOW.rank) == ["x"]


def test_what_is_dropped_is_gone() -> None:
    found = running(trains("x", 300.0), trains("y", 300.0), trains("z", 1.0, base="b"))
    found.drop("x")
    found.drop("z")
    found.drop("never there")
    assert names(found) == ["y"]
    assert found.bases() == ["a"]
    found.drop("y")
    assert found.bases() == []
