"""How much of a device's arithmetic training uses."""

from __future__ import annotations

from pando_shared.catalogue import BaseModel
from pando_shared.workers import Worker
from pando_worker.metrics import WorkerMetrics

#: Dense bfloat16 operations a second of cards by a part of their name, from their makers' data
#: sheets; the first that fits counts. Others have no series.
_PEAKS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Operations a second that a device of this name can do in bfloat16; None: not known."""
    return next((peak for name, peak in _PEAKS.items() if name in device_kind), None)


def flops_per_token(shape: BaseModel) -> float:
    """Of the linear layers and the output head, forward (2 a weight) and back to their inputs (2
    more): a frozen weight has no gradient of its own. Attention and adapters are left out, and so
    is what is computed again."""
    weights = sum(each.in_features * each.out_features * each.count for each in shape.linears)
    return 4.0 * (weights + shape.vocab_size * shape.hidden_size)


def show_utilization(
    metrics: WorkerMetrics, shape: BaseModel | None, worker: Worker, tokens_per_second: float
) -> None:
    """Tell Prometheus, where the device's peak is known."""
    peak = peak_flops(worker.device_kind)
    if peak is not None and shape is not None:
        used = metrics.flops_utilization.labels(worker.device_kind)
        used.set(flops_per_token(shape) * tokens_per_second / peak)
