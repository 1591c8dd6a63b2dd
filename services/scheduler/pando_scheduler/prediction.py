"""What the policy asks of the predictors: production and the simulator both answer it."""

from __future__ import annotations

from typing import Protocol

from pando_scheduler.picture import JobView, WorkerView
from pando_shared.footprint import Footprint
from pando_shared.memory import Needs


class Predictor(Protocol):
    """Memory and speed of jobs on workers. `version` changes whenever the answers do."""

    version: int

    def knows(self, base_model: str) -> bool:
        """Whether anything can be said of a base."""
        ...

    def footprint(self, job: JobView, worker: WorkerView) -> Footprint | None:
        """What the job adds to the worker; None: its base model is not known."""
        ...

    def needs(self, worker: WorkerView, base_model: str, footprint: Footprint) -> Needs:
        """Peak bytes, head-room included, of the worker with these jobs on this base."""
        ...

    def demand(self, job: JobView, worker: WorkerView) -> float:
        """The share of the worker that the job alone keeps busy, in (0, 1]."""
        ...

    def slowdown(self, worker: WorkerView, base_model: str, demand: float, count: int) -> float:
        """How many times slower `count` jobs of that demand together are than each alone."""
        ...

    def swap_seconds(self, worker: WorkerView, base_model: str) -> float:
        """The time to load the base; 0 where it is in memory."""
        ...
