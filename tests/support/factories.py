"""Domain values with everything filled in that a test does not care about."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.jobs import Job, JobSpec, JobState, Priority
from pando_shared.workers import Worker

_numbers = itertools.count(1)
EPOCH_START = 1_700_000_000.0

#: Two layers of width 8, a network of width 24, 4 heads of width 2.
SMALL_BASE = BaseModel(
    name="small",
    path="",
    hidden_size=8,
    intermediate_size=24,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=2,
    vocab_size=100,
    max_positions=64,
    weight_bytes=0,
    parameters=2 * (8 * 8 + 8 * 24) + 100 * 8,
    linears=(Linear("q_proj", 8, 8, 2), Linear("up_proj", 8, 24, 2)),
    tied=True,
)


def make_job(
    job_id: str | None = None,
    *,
    tenant: str = "acme",
    model: str = "tiny",
    priority: Priority = Priority.NORMAL,
    created_at: float = EPOCH_START,
    state: JobState = JobState.QUEUED,
    rank: int = 16,
    adapter: AdapterConfig | None = None,
    **fields: Any,
) -> Job:
    spec = JobSpec(tenant, model, "file-1", adapter or LoraConfig(rank=rank), priority=priority)
    job = Job(job_id or f"ftjob-{next(_numbers):024x}", spec, created_at, state=state)
    return replace(job, **fields)


def make_worker(worker_id: str = "w1", **fields: Any) -> Worker:
    worker = Worker(
        id=worker_id,
        incarnation=f"{worker_id}-first",
        device="cpu",
        budget_bytes=1000,
        heartbeat_at=EPOCH_START,
        token_budget=512,
        models=("tiny",),
    )
    return replace(worker, **fields)
