"""Some steps of one MEFT job in the engine, timed, with what its rows did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from device_limit import outside_bytes
from length_mixes import Item
from measuring import reset_peak, synchronize
from meft_sizes import GpuSizes
from torch import Tensor

from pando_kernels.meft.memory import JobMemory, Traffic
from pando_kernels.meft.rows import RowShape
from pando_kernels.meft.staged_job import StagedJob
from pando_shared.adapters import MeftConfig
from pando_shared.errors import TrainingFailed
from pando_shared.recompute import Recompute
from pando_shared.training import TrainingConfig, resolve
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.data import ListSequences
from pando_worker.engine.engine import Engine, JobFailed
from pando_worker.engine.job import ResidentJob, TrainingJob
from pando_worker.engine.rows_home import RowsHome

#: More epochs than anything here trains.
_ENDLESS = 1000


@dataclass(frozen=True, slots=True)
class Block:
    """Of each step its seconds, of all of them the traffic, of the last the rows (a key and its
    value are two) that tokens used and those of experts that they looked into."""

    seconds: tuple[float, ...]
    traffic: Traffic
    touched_rows: int
    probed_rows: int
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Given(RowsHome):
    """Rows that are there already: several jobs train them one after another."""

    memory: JobMemory | None = None

    def open(
        self, shape: RowShape, keys: Callable[[int, Tensor], None], compute: torch.dtype
    ) -> JobMemory:
        assert self.memory is not None
        return self.memory


def run_block(
    base: BaseModel,
    items: Sequence[Item],
    adapter: MeftConfig,
    sizes: GpuSizes,
    level: Recompute,
    make: Callable[[], JobMemory],
) -> Block:
    """Train the rows that `make` brings, in a job of its own.

    Raises:
        torch.OutOfMemoryError: with this much recomputing it does not fit.
    """
    reset_peak(base.device)
    memory = make()
    engine = Engine(base, sizes.microbatch_tokens, folds=False, home=_Given(memory=memory))
    engine.recompute = level
    config = TrainingConfig(n_epochs=_ENDLESS, batch_size=len(items), learning_rate=1e-5)
    plan = resolve(config, adapter, len(items))
    try:
        job = TrainingJob("job", adapter, plan, ListSequences(tuple(items)))
        return _timed(engine, engine.join(job), memory, sizes)
    finally:
        if engine.jobs:
            engine.leave("job")
        if isinstance(memory, StagedJob):
            memory.staging.updates.shutdown()
        synchronize(base.device)  # side streams are through with what is freed now


def _timed(engine: Engine, resident: ResidentJob, memory: JobMemory, sizes: GpuSizes) -> Block:
    device = engine.base.device
    for _ in range(sizes.warm):
        _step(engine)
    before, seconds, heat = memory.traffic, [], _heat(memory)
    for _ in range(sizes.steps):
        heat = _heat(memory)
        synchronize(device)
        began = time.perf_counter()
        _step(engine)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    traffic = memory.traffic - before
    probed = sum(int((a != b).sum()) for a, b in zip(heat, _heat(memory), strict=True))
    memory.settle()
    touched = int((memory.rows.changed_at == resident.step).sum())
    peak = None
    if device.type == "cuda":
        peak = torch.cuda.max_memory_reserved(device) + outside_bytes()
    return Block(
        seconds=tuple(seconds),
        traffic=traffic,
        touched_rows=2 * touched,
        probed_rows=2 * probed * memory.rows.shape.width,
        peak_bytes=peak,
    )


def _heat(memory: JobMemory) -> list[Tensor]:
    """How often each layer's experts were looked into so far."""
    if not isinstance(memory, StagedJob):
        return []
    return [layer.heat.clone() for layer in memory.layers]


def _step(engine: Engine) -> None:
    """One optimizer step: microbatches until the job's batch is through."""
    while True:
        for report in engine.step():
            if isinstance(report, JobFailed):
                raise TrainingFailed(f"{report.job_id}: {report.message}")
            return
