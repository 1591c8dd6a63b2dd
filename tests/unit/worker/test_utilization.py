"""The share of a device's arithmetic that training uses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import make_worker
from prometheus_client import CollectorRegistry

from pando_shared.catalogue import BaseModel, Linear
from pando_worker.metrics import WorkerMetrics
from pando_worker.utilization import peak_flops, show_utilization

SHAPE = BaseModel(
    name="m",
    path="",
    hidden_size=1000,
    intermediate_size=1,
    layers=10,
    heads=1,
    kv_heads=1,
    head_dim=1,
    vocab_size=5000,
    max_positions=1,
    weight_bytes=1,
    parameters=1,
    linears=(Linear("up_proj", 1000, 2000, 10),),
    tied=False,
)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("cpu", None),
    ],
)
def test_the_first_card_that_fits_the_name_counts(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_utilization_is_what_was_done_over_what_could_be() -> None:
    registry = CollectorRegistry()
    worker = replace(make_worker("w1"), device_kind="NVIDIA A100-SXM4-80GB")
    show_utilization(WorkerMetrics(registry), SHAPE, worker, tokens_per_second=1e6)
    # 20 million weights in blocks, 5 million in the head; 4 operations each; a million tokens.
    used = registry.get_sample_value(
        "pando_model_flops_utilization_ratio", {"device": worker.device_kind}
    )
    assert used == pytest.approx(4 * 25e6 * 1e6 / 312e12)


def test_of_an_unknown_device_nothing_is_said() -> None:
    registry = CollectorRegistry()
    show_utilization(WorkerMetrics(registry), SHAPE, make_worker("w1"), 1e6)
    assert "pando_model_flops_utilization_ratio" not in {
        sample.name for metric in registry.collect() for sample in metric.samples
    }
