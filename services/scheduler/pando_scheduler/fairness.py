"""Who has had more than its share: tenants' use of the workers, which decays with time.

Use is charged in seconds of a whole worker: a job that takes the share s of a worker (the larger of
its shares of tokens and memory) charges its tenant s a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pando_shared.forecasts import Usage
from pando_shared.policy import Policy

#: Further over or under than this makes no difference.
_DEEPEST = 6


@dataclass(slots=True)
class Meter:
    """One tenant's use: dU/dt = rate - U·ln2/half-life, in closed form between changes of rate."""

    worker_seconds: float = 0.0
    at: float = 0.0
    rate: float = 0.0

    def read(self, now: float, half_life: float) -> float:
        """The use as of `now`; time does not run backwards."""
        passed = now - self.at
        if passed <= 0:
            return self.worker_seconds
        kept = math.pow(0.5, passed / half_life)
        return self.worker_seconds * kept + self.rate * half_life / math.log(2) * (1 - kept)

    def turn(self, now: float, half_life: float, rate: float) -> None:
        """Go on at another rate from `now`."""
        self.worker_seconds = self.read(now, half_life)
        self.at = max(self.at, now)
        self.rate = max(0.0, rate)

    def usage(self, tenant: str) -> Usage:
        return Usage(tenant, self.worker_seconds, self.at)


def levels(
    meters: Mapping[str, Meter], backlogged: Iterable[str], policy: Policy, now: float
) -> dict[str, int]:
    """How far each tenant with jobs is over its share, or under it (below 0), in octaves, times
    `Policy.fairness`: a job counts as 2^level times as long as it is.

    The share is the mean, over these tenants, of use divided by weight.
    """
    half_life = policy.usage_half_life_seconds
    used = {
        tenant: (meters[tenant].read(now, half_life) if tenant in meters else 0.0)
        / policy.tenant(tenant).weight
        for tenant in backlogged
    }
    mean = sum(used.values()) / len(used) if used else 0.0
    return {tenant: _level(value, mean, policy.fairness) for tenant, value in used.items()}


def _level(value: float, mean: float, fairness: float) -> int:
    # Below a second of a worker there is nothing to be fair about.
    if mean < 1.0:
        return 0
    octaves = math.log2(max(value, 1e-9) / mean)
    return max(-_DEEPEST, min(_DEEPEST, round(fairness * octaves)))


def job_weights(tenants: Sequence[str], policy: Policy) -> list[float]:
    """How jobs beside each other share a worker, `tenants` being whose they are: each tenant's
    weight is spread over its jobs."""
    counts = Counter(tenants)
    return [policy.tenant(tenant).weight / counts[tenant] for tenant in tenants]


def credited(waited_seconds: float, policy: Policy) -> float:
    """What a job that leaves its place had waited counts on when it waits again; unless it had
    starved, and has had its turn for it: it would come before all others each time again."""
    return 0.0 if waited_seconds >= policy.starvation_seconds else waited_seconds
