"""What the scheduler expects of a job that has not ended: when it starts and ends, why it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Forecast:
    """The scheduler's view of one job, renewed every few seconds. Times are Unix seconds.

    `position` is 1 for the queued job that is placed first, None for one that trains. `reason` says
    in a sentence why a queued job waits. `promised_start` and `promised_finish` are the first ones
    that were told, by which the forecast is judged.
    """

    job_id: str
    made_at: float
    position: int | None = None
    reason: str | None = None
    starts_at: float | None = None
    finishes_at: float | None = None
    promised_start: float | None = None
    promised_finish: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant has used, in seconds of a whole worker, as of `at`; it decays with time."""

    tenant: str
    worker_seconds: float
    at: float
