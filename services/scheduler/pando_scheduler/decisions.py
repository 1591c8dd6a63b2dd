"""What there is to carry out. Each says on what view of the job it rests, and why it was taken.

`epoch` and `lease` are the job's as they were seen; a decision that finds others is void.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_scheduler.halving import ParkTrial, StopTrial
from pando_shared.jobs import Lease, Yield
from pando_shared.workers import Assignment


@dataclass(frozen=True, slots=True)
class PlaceRound:
    """Plan a worker's next round: jobs that stay and queued ones that join.

    `replaces` is a planned round that has not begun and is to be withdrawn first. `shares` split
    the worker's tokens where tenants compete.
    """

    worker_id: str
    incarnation: str
    base_model: str
    staying: tuple[Assignment, ...]
    joining: tuple[Assignment, ...]
    predicted_bytes: int
    headroom: float
    replaces: str | None
    reason: str
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AskToLeave:
    """Have a running job leave its worker by a checkpoint, to be queued again."""

    job_id: str
    epoch: int
    lease: Lease
    why: Yield


@dataclass(frozen=True, slots=True)
class Requeue:
    """Take a job from its worker and queue it again. `lost` counts as an attempt."""

    job_id: str
    epoch: int
    lease: Lease | None
    lost: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """End a job whose workers were lost too often."""

    job_id: str
    epoch: int
    lease: Lease | None
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Free a job that does not run from a lease that is void."""

    job_id: str
    epoch: int
    lease: Lease
    reason: str


@dataclass(frozen=True, slots=True)
class RenewLease:
    """Keep the lease of a job in a live worker's round that the worker does not renew yet."""

    job_id: str
    epoch: int
    lease: Lease
    expires_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class DropRound:
    """Forget a round that nobody will end."""

    round_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reprepare:
    """Ask again for a job's data to be prepared."""

    job_id: str
    reason: str


Decision = (
    PlaceRound
    | AskToLeave
    | Requeue
    | Fail
    | ReleaseLease
    | RenewLease
    | DropRound
    | Reprepare
    | StopTrial
    | ParkTrial
)
