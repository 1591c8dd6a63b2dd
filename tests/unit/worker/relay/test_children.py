"""What is told of children: counters of all of them, gauges of the one that lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pando_worker.relay.children import ChildrenMetrics


class Child:
    """Metrics of one process."""

    def __init__(self, pid: int):
        self.pid, self.registry = pid, CollectorRegistry()
        self.tokens = Counter("tokens", "Tokens", ["method"], registry=self.registry)
        self.seconds = Histogram(
            "step_seconds", "A step", buckets=(1.0, 5.0), registry=self.registry
        )
        self.loss = Gauge("loss", "Loss", ["job_id"], registry=self.registry)


class Parent:
    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.metrics = ChildrenMetrics(lambda pid: pid in self.alive)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)
        self.get = self.registry.get_sample_value

    def hear(self, child: Child) -> None:
        self.alive.add(child.pid)
        self.metrics.hear(child.pid, generate_latest(child.registry).decode())


@pytest.fixture
def parent() -> Parent:
    return Parent()


@pytest.fixture
def bereft(parent: Parent) -> Parent:
    """Whose first child has died."""
    child = Child(7)
    child.tokens.labels("lora").inc(100)
    for seconds in (0.5, 3.0, 9.0):
        child.seconds.observe(seconds)
    child.loss.labels("ftjob-1").set(0.5)
    parent.hear(child)
    assert parent.get("loss", {"job_id": "ftjob-1"}) == 0.5
    parent.alive.clear()
    return parent


def test_what_a_dead_child_counted_stays_and_what_it_measured_goes(bereft: Parent) -> None:
    for _ in range(2):
        assert bereft.get("tokens_total", {"method": "lora"}) == 100
        assert bereft.get("step_seconds_count") == 3
        assert bereft.get("loss", {"job_id": "ftjob-1"}) is None
        assert bereft.get("pando_child_deaths_total") == 1


def scraped_between(parent: Parent) -> None:
    generate_latest(parent.registry)


def nothing_between(_parent: Parent) -> None:
    pass


@pytest.mark.parametrize("between", [scraped_between, nothing_between])
def test_the_next_child_goes_on_from_there(
    bereft: Parent, between: Callable[[Parent], None]
) -> None:
    between(bereft)
    child = Child(8)
    child.tokens.labels("lora").inc(1)
    child.tokens.labels("paca").inc(5)
    child.seconds.observe(4.0)
    child.loss.labels("ftjob-1").set(0.25)
    bereft.hear(child)
    bereft.hear(child)
    assert bereft.get("tokens_total", {"method": "lora"}) == 101
    assert bereft.get("tokens_total", {"method": "paca"}) == 5
    buckets = [bereft.get("step_seconds_bucket", {"le": le}) for le in ("1.0", "5.0", "+Inf")]
    assert buckets == [1, 3, 4]
    assert bereft.get("step_seconds_sum") == 0.5 + 3.0 + 9.0 + 4.0
    assert bereft.get("loss", {"job_id": "ftjob-1"}) == 0.25
    assert bereft.get("pando_child_deaths_total") == 1


def test_a_family_is_told_once_with_its_type(bereft: Parent) -> None:
    bereft.hear(Child(8))
    text = generate_latest(bereft.registry).decode()
    for line in ("# TYPE tokens_total counter", "# TYPE step_seconds histogram"):
        assert text.count(line) == 1


def test_before_any_child_there_are_no_deaths(parent: Parent) -> None:
    assert parent.get("pando_child_deaths_total") == 0
