"""Jobs for the engine, and running them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pando_kernels.plan import make_plan
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.training import TrainingConfig, resolve
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.data import Sequences
from pando_worker.engine.engine import Engine, JobFailed, StepReport
from pando_worker.engine.job import TrainingJob
from tiny_models import random_sequences

#: One of each method, small.
METHODS: dict[str, AdapterConfig] = {
    "lora": LoraConfig(rank=4),
    "lora-dropout": LoraConfig(rank=4, dropout=0.2),
    "paca": PacaConfig(rank=5),
    "meft": MeftConfig(num_keys=64, top_k=6, num_experts=8, num_probes=3),
}


def make_job(
    name: str,
    adapter: AdapterConfig,
    data: Sequences,
    valid: Sequences | None = None,
    **training: object,
) -> TrainingJob:
    config = TrainingConfig(**{"n_epochs": 100, "learning_rate": 2e-3, **training})
    return TrainingJob(name, adapter, resolve(config, adapter, len(data)), data, valid)


def neighbours() -> list[TrainingJob]:
    """Four jobs of all methods, with other ranks, lengths and batch sizes."""
    kinds = [
        (PacaConfig(rank=4), 2),
        (MeftConfig(num_keys=64, top_k=8, num_experts=8, num_probes=3), 3),
        (LoraConfig(rank=16, dropout=0.2), 8),
        (PacaConfig(rank=12, selection="weight-norm"), 1),
    ]
    return [
        make_job(f"n{i}", kind, random_sequences(100 + i, 9), batch_size=batch, seed=i)
        for i, (kind, batch) in enumerate(kinds)
    ]


def steps_of(engine: Engine, names: Iterable[str], until: int | None = None) -> dict[str, list]:
    """Step until the named jobs have finished, or reached step `until`; returns their reports."""
    reports: dict[str, list[StepReport]] = {name: [] for name in names}

    def going(name: str) -> bool:
        job = engine.jobs[name]
        return not job.finished and (until is None or job.step < until)

    while any(going(name) for name in reports):
        for report in engine.step():
            assert isinstance(report, StepReport), report
            if report.job_id in reports:
                reports[report.job_id].append(report)
    return reports


def failures(engine: Engine, steps: int = 50) -> list[JobFailed]:
    """The failures of this many microbatches."""
    found = []
    for _ in range(steps):
        found += [report for report in engine.step() if isinstance(report, JobFailed)]
    return found


def losses(reports: Iterable[StepReport]) -> list[float]:
    return [report.loss for report in reports]


def shake(adapter: Adapter, seed: int = 0) -> None:
    """Random weights, as if trained: fresh adapters change nothing."""
    rng = torch.Generator().manual_seed(seed)
    for value in adapter.parameters.values():
        value.normal_(0.0, 0.1, generator=rng)


def logits_of(base: BaseModel, layers: object, ids: torch.Tensor) -> torch.Tensor:
    """The engine's logits for one sequence [T] -> [T, V]."""
    plan = make_plan([(len(ids), layers)])
    with torch.no_grad():
        return base.head.logits(base.decoder.evaluate(ids, torch.arange(len(ids)), plan))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))
