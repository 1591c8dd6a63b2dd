"""Where a worker says that Prometheus finds it."""

from __future__ import annotations

import pytest

from pando_shared.settings import Settings
from pando_worker.metrics_address import metrics_address


@pytest.mark.parametrize(
    ("host", "redis", "address"),
    [
        ("10.1.2.3", "redis://far:6379/0", "10.1.2.3:9100"),
        ("::1", "redis://far:6379/0", "[::1]:9100"),
        ("0.0.0.0", "redis://:secret@127.0.0.1:6379/0", "127.0.0.1:9100"),
        ("0.0.0.0", "redis://127.0.0.1", "127.0.0.1:9100"),
    ],
)
def test_an_address_by_which_others_reach_it(host: str, redis: str, address: str) -> None:
    settings = Settings(host=host, redis_url=redis, metrics_port=9100)
    assert metrics_address(settings) == address


def test_a_worker_that_serves_no_metrics_has_none() -> None:
    assert metrics_address(Settings(metrics_port=None)) is None
