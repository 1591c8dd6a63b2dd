"""What comes into a simulated cluster: jobs with their truth, and machines."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.adapters import AdapterConfig
from pando_shared.jobs import Priority


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job of the trace. Times are seconds since the trace began.

    `tokens` is all it trains, `step_tokens` what one optimizer step takes, `mean_length` the mean
    of its sequences. The errors are the truth over what the scheduler is told: of the time
    it needs, and of the bytes that its adapter adds to a worker.
    """

    id: str
    tenant: str
    at: float
    base_model: str
    adapter: AdapterConfig
    tokens: float
    step_tokens: float
    mean_length: float
    priority: Priority = Priority.NORMAL
    time_error: float = 1.0
    memory_error: float = 1.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker of the simulated cluster, there from `since` until `until`.

    `bases` are those it offers; empty: all.
    """

    id: str
    budget_bytes: int
    device_kind: str = "sim"
    bases: tuple[str, ...] = ()
    since: float = 0.0
    until: float | None = None
