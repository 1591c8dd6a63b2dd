"""A child's registry is sent, and what goes wrong with that is said once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector

from pando_worker.relay.sender import MetricsSender
from pando_worker.relay.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def test_what_the_registry_has_by_then_is_sent(wire: Wire) -> None:
    registry = CollectorRegistry()
    counter = Counter("steps", "Steps", registry=registry)
    sender = MetricsSender(wire, registry)
    for count in ("1.0", "2.0"):
        counter.inc()
        sender.send()
        assert f"steps_total {count}\n" in wire.receive()[1]


class Fails(Collector):
    failing = True

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        if self.failing:
            raise RuntimeError("the driver is away")
        yield Metric("steps", "Steps", "gauge")


def test_a_failure_is_said_when_it_begins_and_not_each_second(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    registry, collector = CollectorRegistry(), Fails()
    registry.register(collector)
    sender = MetricsSender(wire, registry)
    sender.send()
    sender.send()
    assert [r.getMessage() for r in caplog.records] == [
        "metrics stay as they were told last: the driver is away"
    ]
    collector.failing = False
    sender.send()
    assert "# TYPE steps gauge" in wire.receive()[1]
    collector.failing = True
    sender.send()
    assert len(caplog.records) == 2
