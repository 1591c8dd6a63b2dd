"""A machine of the simulated world: the jobs on it, how fast each trains, whether they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pando_scheduler.fairness import job_weights
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerKind, WorkerView
from pando_scheduler.simulation.arrivals import Arrival, Machine
from pando_scheduler.simulation.run import Outcome, TenantAccount
from pando_scheduler.simulation.sharing import speeds
from pando_shared.footprint import Footprint
from pando_shared.policy import Policy


@dataclass(slots=True)
class Live:
    """A job in the world. `left` is what is truly left, in seconds alone on a machine; `view` what
    the policy sees."""

    arrival: Arrival
    view: JobView
    outcome: Outcome
    left: float
    demand: float
    speed: float = 0.0
    ready_at: float = 0.0
    attained: float = 0.0
    #: Since when it has been waiting.
    waits_since: float = 0.0

    @property
    def told_seconds(self) -> float:
        """What the policy takes to be left."""
        return max(0.0, self.left) / self.arrival.time_error


@dataclass(slots=True)
class Site:
    """A machine, and up to when its jobs' progress is counted. `version` changes with their speeds,
    so that what was foreseen by earlier ones is known to be void."""

    machine: Machine
    kind: WorkerKind
    jobs: dict[str, Live] = field(default_factory=dict)
    counted_at: float = 0.0
    version: int = 0

    @property
    def view(self) -> WorkerView:
        """What the policy sees."""
        bases = frozenset(self.machine.bases) if self.machine.bases else None
        return WorkerView(self.machine.id, self.kind, bases)

    @property
    def useful(self) -> float:
        """The share of the machine's saturated speed in use."""
        return sum(live.speed * live.demand for live in self.jobs.values())

    def count(self, now: float, accounts: Mapping[str, TenantAccount]) -> None:
        """Count what the jobs have done since this was last asked."""
        since, self.counted_at = self.counted_at, now
        for live in self.jobs.values():
            trained = now - max(since, live.ready_at)
            if trained > 0:
                live.left -= live.speed * trained
                used = live.speed * live.demand * trained
                live.attained += used
                accounts[live.arrival.tenant].service += used

    def share(
        self, now: float, interference: float, by_tenant: Policy | None, padded: bool
    ) -> float | None:
        """Give the jobs their speeds from now on; returns when the next of them begins or ends.

        With `by_tenant` tenants share by that policy's weights, else all jobs alike. `padded`: to
        the longest of them.
        """
        self.version += 1
        upcoming = []
        ready = []
        for live in self.jobs.values():
            live.speed = 0.0
            if live.ready_at <= now:
                ready.append(live)
            else:
                upcoming.append(live.ready_at)
        weights = None
        if by_tenant is not None:
            weights = job_weights([live.arrival.tenant for live in ready], by_tenant)
        found = speeds([live.demand for live in ready], interference, weights)
        useful = _without_padding(ready) if padded else 1.0
        for live, speed in zip(ready, found, strict=True):
            live.speed = speed * useful
            upcoming.append(now + max(0.0, live.left) / live.speed)
            told = live.told_seconds
            live.view = replace(live.view, seconds_left=told, ends_at=now + told / live.speed)
        return min(upcoming, default=None)

    def take_ended(self) -> list[Live]:
        """Take out the jobs that have nothing left to do."""
        ended = [live for live in self.jobs.values() if live.left <= 1e-6]
        for live in ended:
            del self.jobs[live.arrival.id]
        return ended

    def lose_progress(self, now: float, checkpoint_seconds: float) -> None:
        """Put every job back to its last checkpoint."""
        for live in self.jobs.values():
            trained = max(0.0, now - live.ready_at)
            live.left += live.speed * (trained % checkpoint_seconds)

    def holds(self, truth: LearntPredictor) -> bool:
        """Whether the jobs truly fit the machine's memory."""
        total, base, worker = Footprint(), "", self.view
        for live in self.jobs.values():
            base = live.arrival.base_model
            true = replace(live.view, memory_ratio=live.arrival.memory_error)
            total += truth.footprint(true, worker) or Footprint()
        return truth.needs(worker, base, total).device_bytes <= self.machine.budget_bytes


def _without_padding(jobs: Sequence[Live]) -> float:
    """The share of a padded microbatch that is no padding."""
    lengths = [live.arrival.mean_length for live in jobs]
    return sum(lengths) / (len(lengths) * max(lengths)) if lengths else 1.0
