"""What `schedule` decides: who joins which worker, who leaves, which worker is kept for whom."""

from __future__ import annotations

from dataclasses import dataclass

from pando_scheduler.picture import Reservation
from pando_shared.jobs import YieldCause


@dataclass(frozen=True, slots=True)
class Join:
    """A queued job comes to a worker."""

    job_id: str
    worker_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A job gives its place up by a checkpoint, and is queued again."""

    job_id: str
    worker_id: str
    cause: YieldCause
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A pass's decisions. `reserved` and `released` are sticky reservations made and given up."""

    leaves: tuple[Leave, ...] = ()
    joins: tuple[Join, ...] = ()
    reserved: tuple[Reservation, ...] = ()
    released: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.leaves or self.joins or self.reserved or self.released)
