"""What a simulation leaves behind: how every job fared, and the cluster over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """One job's fate. Times are seconds since the trace began; None: it never came to that.

    `waited` is all its time in the queue, also after it was preempted or lost; `alone` the time
    that it would have taken on a whole worker; `bypass_excess` by how much it was starved beyond
    the promised bound (0: within it).
    """

    id: str
    tenant: str
    arrived: float
    alone: float
    started: float | None = None
    finished: float | None = None
    waited: float = 0.0
    preemptions: int = 0
    lost: int = 0
    bypass_excess: float = 0.0
    promised_start: float | None = None
    promised_finish: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster at one moment. `useful` is the share of all workers' saturated speed in use."""

    at: float
    queued: int
    running: int
    workers: int
    useful: float


@dataclass(slots=True)
class TenantAccount:
    """`service` is in seconds of a whole worker; `backlogged` the seconds with a job that waited or
    trained."""

    service: float = 0.0
    backlogged: float = 0.0


@dataclass(slots=True)
class Run:
    """One policy on one workload. `plan_seconds` are real ones, spent in deciding."""

    policy: str
    outcomes: list[Outcome] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    tenants: dict[str, TenantAccount] = field(default_factory=dict)
    out_of_memory: int = 0
    preemptions: int = 0
    swaps: int = 0
    checkpoints: int = 0
    plans: int = 0
    plan_seconds: float = 0.0
    seconds: float = 0.0
    makespan: float = 0.0
    settings: Mapping[str, str | float | int] = field(default_factory=dict)
