"""Runs by hand, and a queue that makes whole ones: first come, first served, a job a worker."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.run import Outcome, Run, Sample, TenantAccount
from pando_shared.adapters import LoraConfig


def outcome(
    arrived: float = 0.0, started: float | None = 0.0, finished: float | None = 1.0, **rest: object
) -> Outcome:
    """A job that waited until it started, unless `waited` says otherwise."""
    waited = 0.0 if started is None else started - arrived
    fields = {"id": "job", "tenant": "acme", "alone": 1.0, "waited": waited} | rest
    return Outcome(arrived=arrived, started=started, finished=finished, **fields)  # type: ignore[arg-type]


def run_of(*turnarounds: float, policy: str = "pando", **rest: object) -> Run:
    """A run whose jobs came at 0 and took these seconds."""
    return Run(policy, [outcome(finished=float(t)) for t in turnarounds], **rest)  # type: ignore[arg-type]


def arrival(at: float, seconds: float, tenant: str = "acme") -> Arrival:
    """A job of one token a second."""
    return Arrival(f"job-{at}", tenant, at, "base", LoraConfig(), seconds, 1.0, 1.0)


def first_come(arrivals: Iterable[Arrival], workers: int, policy: str = "fifo-one") -> Run:
    """Every job trains alone, a token a second, on the worker that is free first."""
    free = [0.0] * workers
    run = Run(policy)
    events: list[tuple[float, int, int]] = []
    for job in arrivals:
        started = max(job.at, heapq.heappop(free))
        finished = started + job.tokens
        heapq.heappush(free, finished)
        run.outcomes.append(
            Outcome(job.id, job.tenant, job.at, job.tokens, started, finished, started - job.at)
        )
        account = run.tenants.setdefault(job.tenant, TenantAccount())
        account.service += job.tokens
        account.backlogged += finished - job.at
        events += [(job.at, 1, 0), (started, -1, 1), (finished, 0, -1)]
    queued = running = 0
    for at, queues, runs in sorted(events, key=lambda event: (event[0], -event[1])):
        queued, running = queued + queues, running + runs
        run.samples.append(Sample(at, queued, running, workers, running / workers))
    run.makespan = max(free)
    return run
