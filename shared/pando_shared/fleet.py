"""The workers taken together: who is alive, who offers a base, what a job would need on one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.base_format import base_format, unpacked_bytes
from pando_shared.catalogue import BaseModel
from pando_shared.memory import (
    Needs,
    activation_bytes_per_token,
    predict_host_bytes,
    predict_peak_bytes,
    resident_bytes,
)
from pando_shared.recompute import Recompute
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
        rows_on_disk=settings.rows_dir is not None,
    )


def default_token_budget(device: str) -> int:
    """Tokens of a microbatch: enough to fill the device, few enough to leave memory for jobs."""
    return 1024 if device == "cpu" else 16384


def largest(workers: Sequence[Worker], model: str, settings: Settings) -> Worker:
    """The worker with the most memory that can load `model`, and of equal ones that with the most
    of its host's; an assumed one where there is none."""
    able = offering(workers, model)
    return max(
        able,
        key=lambda worker: (worker.budget_bytes, worker.host_budget_bytes or 0),
        default=assumed_worker(settings),
    )


#: Of the memory that a base leaves free, the share that activations may take.
_ACTIVATION_SHARE = 0.35
_SMALLEST_TOKEN_BUDGET = 256
#: A microbatch this large is not worth recomputing more for: CHEAP costs little, so only a large
#: one goes without; BLOCK costs a third more work, and makes none larger than it must be.
_LARGE_ENOUGH = {Recompute.NOTHING: 8192, Recompute.CHEAP: 512, Recompute.BLOCK: 0}
_LARGEST_OF_BLOCK = 1024
#: A round recomputes less than planned for while it stays below this share of the memory: what the
#: default head-room of admission leaves.
_COMFORTABLE = 1 / 1.1


@dataclass(frozen=True, slots=True)
class MicrobatchPlan:
    """What the memory of a worker allows a round: tokens in work at once, and what is kept."""

    tokens: int
    recompute: Recompute
    needs: Needs


def token_budget_on(worker: Worker, base: BaseModel) -> int:
    """Tokens of a microbatch of `worker` on `base`: its own limit, or what its memory allows.

    A third of what the base leaves goes to a LoRA job's activations, the rest to adapters. So an 8B
    base fits a 24 GB card with small microbatches and fills an 80 GB one with large ones.
    """
    return _tokens_and_recompute(worker, base)[0]


def _tokens_and_recompute(worker: Worker, base: BaseModel) -> tuple[int, Recompute]:
    held = worker.base_format
    free = worker.budget_bytes - _resident(worker, base) - unpacked_bytes(base, held)
    tokens = 0
    for recompute, enough in _LARGE_ENOUGH.items():
        per_token = activation_bytes_per_token(base, LoraConfig(), held.compute_bytes, recompute)
        tokens = min(worker.token_budget, int(_ACTIVATION_SHARE * max(0, free) / per_token))
        if recompute is Recompute.BLOCK:
            tokens = min(tokens, _LARGEST_OF_BLOCK)
        if tokens >= min(worker.token_budget, enough):
            return max(tokens, _SMALLEST_TOKEN_BUDGET), recompute
    raise AssertionError("BLOCK takes any number of tokens")


def microbatch_on(
    worker: Worker, base: BaseModel, adapters: Sequence[AdapterConfig], longest: int = 0
) -> MicrobatchPlan:
    """How `worker` would train these adapters on `base` together: with the least recomputing that
    its memory allows, which is more while adapters are few. A job that fits in no other way gets
    the worker to itself, and what it takes of recomputing.

    A sequence of `longest` tokens is never split, even where it exceeds the token budget.
    """
    budget, most = _tokens_and_recompute(worker, base)
    if len(adapters) == 1:
        most = Recompute.BLOCK
    tokens = max(budget, longest)
    for recompute in Recompute:
        peak = predict_peak_bytes(
            base,
            adapters,
            tokens,
            worker.base_format,
            worker.device,
            _resident(worker, base),
            recompute,
        )
        if recompute is most or peak <= _COMFORTABLE * worker.budget_bytes:
            break
    host = predict_host_bytes(
        base, adapters, worker.base_format, worker.device, worker.rows_on_disk
    )
    return MicrobatchPlan(budget, recompute, Needs(peak, host))


def predict_on(
    worker: Worker, base: BaseModel, adapters: Sequence[AdapterConfig], longest: int = 0
) -> Needs:
    """Peak bytes of `worker` training these adapters on `base` together."""
    return microbatch_on(worker, base, adapters, longest).needs


def _resident(worker: Worker, base: BaseModel) -> int:
    """What the base takes on the worker: measured where it is in memory, predicted elsewhere."""
    if worker.base_model == base.name and worker.resident_bytes:
        return worker.resident_bytes
    return resident_bytes(base, worker.base_format)
