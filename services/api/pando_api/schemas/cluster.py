"""Workers and the queue on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from pando_shared.jobs import Priority


class PredictionObject(BaseModel):
    """How good predictions have been on a worker's base and its kind of device.

    `rounds` were learnt from. Errors are shares of what was predicted, whichever way; null: none
    yet. `headroom` is what admission keeps free on top of a prediction of memory.
    """

    rounds: int
    memory_error_p50: float | None
    memory_error_p99: float | None
    headroom: float
    speed_error_p50: float | None


class WorkerObject(BaseModel):
    """`jobs` counts what its rounds hold, all tenants' together. Sizes are bytes.

    `host_budget_bytes` is what a worker on a GPU may use of its host's memory; null: there is no
    limit, or, on a CPU, no second memory. `rows_on_disk`: MEFT's rows and their
    moments are mapped from a disk. `draining`: it is being emptied and takes no job. `prediction`
    is null until the worker has a base and a round on it was reported.
    """

    id: str
    object: Literal["worker"] = "worker"
    alive: bool
    device: str
    device_kind: str
    draining: bool
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
    prediction: PredictionObject | None


class WorkerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[WorkerObject]


class QueuedJob(BaseModel):
    """`position` is 1 for the job that is placed first, over all tenants. It, `blocked_reason` and
    `estimated_start` (Unix seconds) are null until the scheduler has looked at the job, position
    and start also where the job is held back, the start where no worker could train it.
    """

    id: str
    object: Literal["queued_job"] = "queued_job"
    position: int | None
    model: str
    method: str
    priority: Priority
    created_at: int
    waiting_seconds: float
    predicted_peak_bytes: int | None
    predicted_host_bytes: int | None
    blocked_reason: str | None
    estimated_start: int | None


class Queue(BaseModel):
    """Your queued jobs, first in line first; `depth` counts everyone's."""

    object: Literal["list"] = "list"
    depth: int
    data: list[QueuedJob]
