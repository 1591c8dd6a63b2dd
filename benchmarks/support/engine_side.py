"""Our engine's speed and memory on jobs' batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from length_mixes import Item
from measuring import peak_bytes, release, reset_peak, synchronize

from pando_shared.adapters import AdapterConfig, PacaConfig
from pando_shared.errors import TrainingFailed
from pando_shared.training import TrainingConfig, resolve
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.data import ListSequences
from pando_worker.engine.engine import Engine, JobFailed
from pando_worker.engine.job import TrainingJob

#: More epochs than anything here trains.
_ENDLESS = 1000

Job = tuple[Sequence[Item], AdapterConfig]


@dataclass(frozen=True, slots=True)
class Measured:
    """Real tokens trained, the seconds it took, and the most that all tensors took meanwhile."""

    tokens: int
    seconds: float
    peak_bytes: int | None
    settings: str

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def frozen_probe(base: BaseModel) -> PacaConfig:
    """The least that makes the engine run forward and backward through all of the base.

    One trained column of the first block's first linear: the backward pass must reach it, and it
    costs one pass over that linear's output each way.
    """
    return PacaConfig(rank=1, target_modules=(next(iter(base.linears)),))


def run_engine(
    base: BaseModel,
    jobs: Sequence[Job],
    token_budget: int,
    warm: int,
    steps: int,
    lean: bool = False,
    folds: bool = False,
) -> Measured:
    """Train all jobs together for `steps` microbatches after `warm` that are not counted.

    Each job's batch is its whole data. `lean` recomputes as much as the decoder can; else that
    comes only where memory runs out, level by level. `folds` is the engine's.

    Raises:
        torch.OutOfMemoryError: even then.
    """
    levels = _levels(base)[-1:] if lean else _levels(base)
    engine = Engine(base, token_budget, folds=folds)
    for index, (items, adapter) in enumerate(jobs):
        config = TrainingConfig(n_epochs=_ENDLESS, batch_size=len(items), learning_rate=1e-5)
        plan = resolve(config, adapter, len(items))
        engine.join(TrainingJob(f"job{index:03}", adapter, plan, ListSequences(tuple(items))))
    for level in levels:
        _set_level(base, level)
        try:
            return _run(engine, base, warm, steps, level)
        except torch.OutOfMemoryError:
            if level is levels[-1]:
                raise
        for resident in engine.jobs.values():
            resident.abandon_batch()
        release(base.device)
    raise AssertionError("a decoder has at least one level")


def _run(engine: Engine, base: BaseModel, warm: int, steps: int, level: Enum | None) -> Measured:
    for _ in range(warm):
        _tokens(engine)
    synchronize(base.device)
    reset_peak(base.device)
    began = time.perf_counter()
    tokens = sum(_tokens(engine) for _ in range(steps))
    synchronize(base.device)
    spent = time.perf_counter() - began
    settings = "" if level is None else f"recomputes {level.value}"
    return Measured(tokens, spent, peak_bytes(base.device), settings)


def _tokens(engine: Engine) -> int:
    """One microbatch; its tokens, because no job's batch is larger."""
    total = 0
    for report in engine.step():
        if isinstance(report, JobFailed):
            raise TrainingFailed(f"{report.job_id}: {report.message}")
        total += report.tokens
    return total


def _levels(base: BaseModel) -> list[Enum | None]:
    """What the decoder can make again instead of keeping it, least first; None: no such choice."""
    level = getattr(base.decoder, "recompute", None)
    return list(type(level)) if isinstance(level, Enum) else [None]


def _set_level(base: BaseModel, level: Enum | None) -> None:
    if level is not None:
        base.decoder.recompute = level  # type: ignore[attr-defined]
