"""The API's counters are there before what they count."""

from __future__ import annotations

import pytest

from pando_api.metrics import Metrics
from pando_shared.clock import FakeClock
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore


@pytest.mark.parametrize("outcome", ["delivered", "failed", "given_up", "dropped"])
def test_deliveries_begin_at_0(outcome: str) -> None:
    clock = FakeClock()
    registry = Metrics(StubStore(clock), Settings(), clock).registry
    found = registry.get_sample_value("pando_webhook_deliveries_total", {"outcome": outcome})
    assert found == 0
