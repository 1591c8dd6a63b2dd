"""The constants of leases, rounds and messages, which are no policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pando_shared.jobs import Lease
from pando_shared.workers import Worker

#: A lease that ends later than this many of its lengths from now was given by another clock.
_LONGEST_LEASES = 4


@dataclass(frozen=True, slots=True)
class PrepareSends:
    """How often, and when last, the scheduler itself asked for a job's data to be prepared."""

    count: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations in seconds, and the other constants of scheduling."""

    round_seconds: float = 20.0
    lease_seconds: float = 15.0
    max_attempts: int = 3
    #: Share of the prediction that is kept free on top of it, until better is known.
    memory_headroom: float = 0.10
    #: A job still in validation after this long has lost its message.
    prepare_seconds: float = 20.0
    #: A round not begun this long after its worker became free has lost its message.
    message_seconds: float = 10.0
    #: A begun round whose end is overdue by this much was forgotten by its worker.
    overdue_seconds: float = 120.0

    @property
    def suspect_attempts(self) -> int:
        """So many losses in a row are no accident: half of those that a job may have. Workers die
        for many reasons, and the jobs of one that did should not each wait for an empty one."""
        return (self.max_attempts + 1) // 2

    def alive(self, worker: Worker, now: float) -> bool:
        """A heartbeat from the future is no better than one from the past."""
        return abs(now - worker.heartbeat_at) <= self.lease_seconds

    def holds(self, lease: Lease, workers: Mapping[str, Worker], now: float) -> bool:
        """Whether a lease is good: not expired, and its worker still the process that took it."""
        worker = workers.get(lease.worker_id)
        return (
            worker is not None
            and worker.incarnation == lease.incarnation
            and 0 < lease.expires_at - now <= _LONGEST_LEASES * self.lease_seconds
        )
