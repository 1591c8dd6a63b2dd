"""A worker's counters are there before what they count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from pando_worker.metrics import WorkerMetrics


def test_a_bases_tokens_begin_at_0_and_stay_when_it_is_loaded_again() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    def tokens(method: str) -> float | None:
        labels = {"base_model": "tiny", "method": method}
        return registry.get_sample_value("pando_trained_tokens_total", labels)

    metrics.begin_base("tiny")
    assert [tokens(method) for method in ("lora", "paca", "meft")] == [0, 0, 0]
    metrics.trained_tokens.labels("tiny", "paca").inc(7)
    metrics.begin_base("tiny")
    assert tokens("paca") == 7


def test_rows_moved_begin_at_0() -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    for direction in ("in", "out"):
        name = "pando_meft_rows_transferred_total"
        assert registry.get_sample_value(name, {"direction": direction}) == 0
