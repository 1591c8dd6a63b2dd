"""Whoever asks for as much as a job for which there was no room has none either."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cluster_world import Figures, job, placed, worker

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.misses import Misses
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy

POLICY = Policy(
    classes={priority: ClassPolicy(300.0, 2.0) for priority in Priority},
    usage_half_life_seconds=1000.0,
    fairness=1.0,
)
MISSED = job("missed", took=20, percent=50, seconds=600.0)


def draft(policy: Policy = POLICY) -> Draft:
    """Tenants t and u have a job on a worker, v has none."""
    cluster = Cluster(policy, Figures())
    cluster.put_worker(worker(), 0.0)
    for tenant in "tu":
        cluster.put_job(placed(job(tenant, tenant=tenant), "w1"), 0.0)
    return Draft(cluster, 0.0)


@pytest.mark.parametrize(
    ("took", "percent", "seconds", "covered"),
    [
        (20, 50, 600.0, True),
        (21, 51, 601.0, True),
        (19, 90, 900.0, False),
        (90, 49, 900.0, False),
        (90, 90, 599.0, False),
    ],
)
def test_as_much_in_every_respect(took: int, percent: int, seconds: float, covered: bool) -> None:
    at, misses = draft(), Misses()
    asks = job("x", took=took, percent=percent, seconds=seconds)
    assert not misses.covers(at, asks)
    misses.add(at, MISSED)
    assert misses.covers(at, asks) == covered


@pytest.mark.parametrize(
    "change",
    [
        {"base_model": "b"},
        {"rank": Priority.LOW.rank},
        {"alone": True},
        {"avoids": ("w1",)},
        {"tenant": "v"},  # which may join whatever it adds
    ],
)
def test_nothing_is_told_of_other_kinds_of_jobs(change: dict[str, object]) -> None:
    at, misses = draft(), Misses()
    misses.add(at, MISSED)
    assert not misses.covers(at, replace(MISSED, **change))  # type: ignore[arg-type]


def test_tenants_are_told_apart_where_one_has_a_limit() -> None:
    at, misses = draft(), Misses()
    misses.add(at, MISSED)
    assert misses.covers(at, replace(MISSED, tenant="u"))
    for limited in "tu":
        at = draft(replace(POLICY, tenants={limited: TenantPolicy(limit=1.0)}))
        misses = Misses()
        misses.add(at, MISSED)
        assert misses.covers(at, MISSED)
        assert not misses.covers(at, replace(MISSED, tenant="u"))


def test_several_are_remembered_and_the_least_of_those_that_compare() -> None:
    at, misses = draft(), Misses()
    for took, percent in ((30, 30), (20, 50), (20, 40)):
        misses.add(at, job("x", took=took, percent=percent))
    assert misses.covers(at, job("y", took=30, percent=30))
    assert misses.covers(at, job("y", took=20, percent=40))
    assert not misses.covers(at, job("y", took=29, percent=39))
    assert not misses.covers(at, job("y", took=19, percent=90))
