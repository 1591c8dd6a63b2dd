"""A job's events and checkpoints on the wire."""

from __future__ import annotations

from typing import Any, Literal, Self

from pando_api.schemas.paging import Listed
from pando_shared.records import CheckpointRecord, Event


class EventObject(Listed):
    """One line of a job's history; for type "metrics", `data` holds the numbers."""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event, job_id: str) -> Self:
        return cls(
            id=event_id(job_id, event.seq),
            created_at=int(event.created_at),
            level=event.level,
            message=event.message,
            type=event.type,
            data=dict(event.data),
        )


class CheckpointObject(Listed):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]

    @classmethod
    def of(cls, record: CheckpointRecord) -> Self:
        return cls(
            id=record.id,
            created_at=int(record.created_at),
            fine_tuned_model_checkpoint=record.model,
            fine_tuning_job_id=record.job_id,
            step_number=record.step,
            metrics=dict(record.metrics),
        )


def event_id(job_id: str, seq: int) -> str:
    """Events have no id of their own; within a job the sequence number is one."""
    return f"ftevent-{job_id.removeprefix('ftjob-')}-{seq}"


def event_seq(job_id: str, wanted: str) -> int | None:
    """The sequence number in an id that `event_id` made for this job; None for any other text."""
    seq = wanted.removeprefix(event_id(job_id, 0)[:-1])
    return int(seq) if seq != wanted and seq.isdecimal() and len(seq) < 16 else None
