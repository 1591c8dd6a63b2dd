"""The workers taken together: who is alive, who offers a base, what a job would need on one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.base_format import base_format, unpacked_bytes
from pando_shared.catalogue import BaseModel
from pando_shared.memory import (
    activation_bytes_per_token,
    predict_peak_bytes,
    resident_bytes,
)
from pando_shared.settings import Settings
from pando_shared.store import Store
from pando_shared.workers import Worker


def is_alive(worker: Worker, settings: Settings, now: float) -> bool:
    """As the scheduler sees it: a worker silent for longer than a lease has lost its jobs."""
    return now - worker.heartbeat_at <= settings.lease_seconds


def live_workers(store: Store, settings: Settings, now: float) -> list[Worker]:
    return [worker for worker in store.list_workers() if is_alive(worker, settings, now)]


def offering(workers: Sequence[Worker], model: str) -> list[Worker]:
    """Those that can load `model`; a worker that lists no models takes any."""
    return [worker for worker in workers if not worker.models or model in worker.models]


def assumed_worker(settings: Settings) -> Worker:
    """What a worker of these settings, and of any size, would say of itself: for predictions while
    none is alive."""
    device = settings.device or "cpu"
    return Worker(
        id="assumed",
        incarnation="",
        device=device,
        budget_bytes=sys.maxsize,
        heartbeat_at=0.0,
        token_budget=settings.token_budget or default_token_budget(device),
        base_format=base_format(settings.dtype, device),
    )


def default_token_budget(device: str) -> int:
    """Tokens of a microbatch: enough to fill the device, few enough to leave memory for jobs."""
    return 1024 if device == "cpu" else 16384


def largest(workers: Sequence[Worker], model: str, settings: Settings) -> Worker:
    """The worker with the most memory that can load `model`; an assumed one where there is none."""
    able = offering(workers, model)
    return max(able, key=lambda worker: worker.budget_bytes, default=assumed_worker(settings))


#: Of the memory that a base leaves free, the share that activations may take.
_ACTIVATION_SHARE = 0.35
_SMALLEST_TOKEN_BUDGET = 256


def token_budget_on(worker: Worker, base: BaseModel) -> int:
    """Tokens of a microbatch of `worker` on `base`: its own limit, or what its memory allows.

    A third of what the base leaves goes to a LoRA job's activations, the rest to adapters. So an 8B
    base fits a 24 GB card with small microbatches and fills an 80 GB one with large ones.
    """
    held = worker.base_format
    free = worker.budget_bytes - _resident(worker, base) - unpacked_bytes(base, held)
    per_token = activation_bytes_per_token(base, LoraConfig(), held.compute_bytes)
    affordable = int(_ACTIVATION_SHARE * free / per_token) if free > 0 else 0
    return min(worker.token_budget, max(_SMALLEST_TOKEN_BUDGET, affordable))


def predict_on(
    worker: Worker, base: BaseModel, adapters: Sequence[AdapterConfig], longest: int = 0
) -> int:
    """Peak bytes of `worker` training these adapters on `base` together.

    A sequence of `longest` tokens is never split, even where it exceeds the token budget.
    """
    tokens = max(token_budget_on(worker, base), longest)
    return predict_peak_bytes(base, adapters, tokens, worker.base_format, _resident(worker, base))


def _resident(worker: Worker, base: BaseModel) -> int:
    """What the base takes on the worker: measured where it is in memory, predicted elsewhere."""
    if worker.base_model == base.name and worker.resident_bytes:
        return worker.resident_bytes
    return resident_bytes(base, worker.base_format)
