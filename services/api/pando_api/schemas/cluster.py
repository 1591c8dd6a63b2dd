"""Workers and the queue on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from pando_shared.jobs import Priority


class WorkerObject(BaseModel):
    """`jobs` counts what its rounds hold, all tenants' together. Sizes are bytes.

    `host_budget_bytes` is what a worker on a GPU may use of its host's memory; null: there is no
    limit, or, on a CPU, no second memory. `rows_on_disk`: MEFT's rows and their
    moments are mapped from a disk.
    """

    id: str
    object: Literal["worker"] = "worker"
    alive: bool
    device: str
    base_model: str | None
    models: list[str]
    jobs: int
    budget_bytes: int
    host_budget_bytes: int | None
    rows_on_disk: bool
    resident_bytes: int
    peak_bytes: int
    token_budget: int
    tokens_per_second: float
    round_gap_seconds: float
    last_heartbeat_at: float


class WorkerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[WorkerObject]


class QueuedJob(BaseModel):
    id: str
    object: Literal["queued_job"] = "queued_job"
    position: int
    model: str
    method: str
    priority: Priority
    created_at: int
    waiting_seconds: float
    predicted_peak_bytes: int | None
    predicted_host_bytes: int | None
    blocked_reason: str | None


class Queue(BaseModel):
    """Your queued jobs, first in line first; `depth` counts everyone's."""

    object: Literal["list"] = "list"
    depth: int
    data: list[QueuedJob]
