"""What a tenant uses and may use, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class StorageUsage(BaseModel):
    """Bytes. `limit` null: there is none."""

    used: int
    files: int
    uploads: int
    adapters: int
    limit: int | None


class JobUsage(BaseModel):
    """Jobs that have not ended, by their status; all of them count for `limit`."""

    validating_files: int
    queued: int
    running: int
    paused: int
    limit: int | None


class RequestUsage(BaseModel):
    """`remaining` are those that could be made at once now; null without a limit."""

    limit_per_minute: int | None
    remaining: int | None


class WorkerUsage(BaseModel):
    """`recent_seconds` of a whole worker; what was used a half-life ago counts half (the policy's
    `half_life`). Null until the scheduler has told of the tenant. `limit` is in workers."""

    recent_seconds: float | None
    guaranteed: float
    limit: float | None


class TenantUsage(BaseModel):
    object: Literal["usage"] = "usage"
    tenant: str
    storage: StorageUsage
    jobs: JobUsage
    requests: RequestUsage
    workers: WorkerUsage


class TenantUsageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[TenantUsage]
