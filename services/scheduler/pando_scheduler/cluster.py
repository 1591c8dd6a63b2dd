"""What the scheduler decides upon: a snapshot of the cluster and the rules in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pando_shared.adapters import AdapterConfig
from pando_shared.jobs import Job, Lease
from pando_shared.memory import Needs
from pando_shared.workers import Round, Worker


@dataclass(frozen=True, slots=True)
class PrepareSends:
    """How often, and when last, the scheduler itself asked for a job's data to be prepared."""

    count: int
    last_at: float


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Jobs that have not ended or hold a lease, all workers, all rounds. Order does not matter."""

    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    rounds: tuple[Round, ...]
    prepares: Mapping[str, PrepareSends] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations in seconds, and the other constants of scheduling."""

    round_seconds: float = 20.0
    lease_seconds: float = 15.0
    max_attempts: int = 3
    #: Share of the prediction that is kept free on top of it.
    memory_headroom: float = 0.10
    #: A job still in validation after this long has lost its message.
    prepare_seconds: float = 60.0
    #: A round not begun this long after its worker became free has lost its message.
    message_seconds: float = 30.0
    #: A begun round whose end is overdue by this much was forgotten by its worker.
    overdue_seconds: float = 120.0
    #: Jobs that waited longer keep later ones from taking the place they wait for.
    patience_seconds: float = 600.0

    def alive(self, worker: Worker, now: float) -> bool:
        return now - worker.heartbeat_at <= self.lease_seconds

    def holds(self, lease: Lease, workers: Mapping[str, Worker], now: float) -> bool:
        """Whether a lease is good: not expired, and its worker still the process that took it."""
        worker = workers.get(lease.worker_id)
        return (
            worker is not None
            and worker.incarnation == lease.incarnation
            and now < lease.expires_at
        )


class Predictor(Protocol):
    """Predicts a worker's peak bytes."""

    def __call__(
        self, base_model: str, adapters: Sequence[AdapterConfig], worker: Worker
    ) -> Needs | None:
        """What the worker needs to train these adapters on this base; None: no such base."""
        ...
