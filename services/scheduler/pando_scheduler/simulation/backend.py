"""What carries simulations out for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.run import Run

#: Told simulated seconds, jobs that finished and all jobs, now and then.
Report = Callable[[float, int, int], None]


class Backend(Protocol):
    """Simulates on clusters of one kind of worker."""

    def speed_alone(self, step_tokens: float, method: str) -> float:
        """Tokens a second of a job alone on a worker."""
        ...

    def run(
        self, arrivals: Sequence[Arrival], workers: int, policy: str, seed: int, report: Report
    ) -> Run:
        """One policy on one workload. The seed draws what happens to the cluster."""
        ...
