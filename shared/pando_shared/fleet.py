"""The workers taken together: who is alive, who offers a base, what a job would need on one."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from pando_shared.adapters import AdapterConfig
from pando_shared.base_format import base_format
from pando_shared.calibration import UNLEARNT, Calibration, own_scale
from pando_shared.catalogue import BaseModel
from pando_shared.footprint import Footprint
from pando_shared.memory import Needs, footprint
from pando_shared.reports import Probe
from pando_shared.room import room_on
from pando_shared.settings import Settings
from pando_shared.store import WorkerStore
from pando_shared.workers import Worker


def is_alive(worker: Worker, settings: Settings, now: float) -> bool:
    """As the scheduler sees it: a worker silent for longer than a lease has lost its jobs. One of
    the future is not heard either; the clock was set back since."""
    return abs(now - worker.heartbeat_at) <= settings.lease_seconds


def live_workers(store: WorkerStore, settings: Settings, now: float) -> list[Worker]:
    workers = map(trusted, store.list_workers())
    return [worker for worker in workers if is_alive(worker, settings, now)]


def trusted(worker: Worker) -> Worker:
    """The worker with what is impossible in its record taken for nothing.

    A budget that is no number of bytes holds nothing; a heartbeat at no time was never heard.
    """
    host = worker.host_budget_bytes
    return replace(
        worker,
        budget_bytes=_count(worker.budget_bytes),
        heartbeat_at=_amount(worker.heartbeat_at),
        token_budget=max(1, _count(worker.token_budget)),
        resident_bytes=_count(worker.resident_bytes),
        peak_bytes=_count(worker.peak_bytes),
        tokens_per_second=_amount(worker.tokens_per_second),
        round_gap_seconds=_amount(worker.round_gap_seconds),
        host_budget_bytes=None if host is None else _count(host),
        probe=worker.probe if worker.probe is not None and _plausible(worker.probe) else None,
    )


def _amount(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0


def _count(value: int) -> int:
    return int(_amount(value))


def _plausible(probe: Probe) -> bool:
    """Whether its microbatches differ, and took memory."""
    return 0 < probe.tokens[0] < probe.tokens[1] and min(probe.peak_bytes) > 0


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
        device_kind=device,  # a GPU's name is not known, nor what was learnt of it
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


def token_budget_on(worker: Worker, base: BaseModel) -> int:
    """Tokens of a microbatch of `worker` on `base`: its own limit, or what its memory allows.

    A third of what the base leaves goes to a LoRA job's activations, the rest to adapters. So an 8B
    base fits a 24 GB card with small microbatches and fills an 80 GB one with large ones.
    """
    return room_on(worker, base).tokens


def footprint_on(
    worker: Worker,
    base: BaseModel,
    adapter: AdapterConfig,
    longest: int = 0,
    learnt: Calibration = UNLEARNT,
    memory_ratio: float | None = None,
    out_of_memory: int = 0,
) -> Footprint:
    """What a job adds to `worker` on `base`, by what was learnt of adapters like its own, or of
    itself: `memory_ratio` and `out_of_memory` are the job's. `longest`: its longest sequence."""
    bare = footprint_of(worker, base, adapter, longest)
    return learnt_footprint(bare, adapter, learnt, memory_ratio, out_of_memory)


def footprint_of(
    worker: Worker, base: BaseModel, adapter: AdapterConfig, longest: int = 0
) -> Footprint:
    """What the byte model says that a job adds to `worker` on `base`."""
    held = worker.base_format
    return footprint(base, adapter, held, worker.device, worker.rows_on_disk, longest)


def learnt_footprint(
    bare: Footprint,
    adapter: AdapterConfig,
    learnt: Calibration,
    memory_ratio: float | None,
    out_of_memory: int,
) -> Footprint:
    """The byte model's answer, corrected by what was learnt."""
    scale = learnt.factor(adapter) if memory_ratio is None else 1.0
    expected = bare.device_bytes * scale * own_scale(memory_ratio, out_of_memory)
    margin = expected * learnt.margin if memory_ratio is None else 0.0
    return replace(bare, device_bytes=round(expected), margin_bytes=math.ceil(margin))


def needs_on(
    worker: Worker, base: BaseModel, adapters: Footprint, learnt: Calibration = UNLEARNT
) -> Needs:
    """The least peak bytes with which `worker` can train a set of this footprint on `base`.

    For many sets, `room_on` spares what does not depend on the set.
    """
    return room_on(worker, base, learnt).needs(adapters)


def predict_on(
    worker: Worker,
    base: BaseModel,
    adapters: Sequence[AdapterConfig],
    longest: int = 0,
    headroom: float = 0.10,
    learnt: Calibration = UNLEARNT,
) -> Needs:
    """Peak bytes of `worker` training these adapters on `base` together; see `Room.plan`."""
    taken = (footprint_on(worker, base, a, longest, learnt) for a in adapters)
    return room_on(worker, base, learnt).plan(sum(taken, Footprint()), headroom).needs


def expected_needs(
    worker: Worker,
    base: BaseModel,
    adapter: AdapterConfig,
    learnt: Calibration,
    start_headroom: float,
    longest: int = 0,
) -> Needs:
    """What a job alone is expected to take of `worker`, by what was learnt of others.

    What it may take beyond, as nobody has measured it, is not in it. `start_headroom`: the
    head-room of bases that nothing is known of yet. `longest`: the job's longest sequence.
    """
    headroom = learnt.headroom(start_headroom)
    return predict_on(worker, base, [adapter], longest, headroom, replace(learnt, sigma=0.0))
