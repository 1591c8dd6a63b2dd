"""What a pass of `schedule` takes: from cold, and when a little has changed since the last; and
what it takes to tell all jobs when they start.

Seconds of one core, whatever else the machine is busy with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from pando_scheduler.cluster import Cluster
from pando_scheduler.forecast import forecast
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerView, job_size, worker_kind
from pando_scheduler.plan import Plan
from pando_scheduler.schedule import schedule
from pando_scheduler.simulation.base_models import DEFAULT, catalogue_of
from pando_scheduler.simulation.measures import quantile
from pando_shared.adapters import AdapterConfig, LoraConfig, PacaConfig
from pando_shared.base_format import BaseFormat
from pando_shared.policy import Policy, TenantPolicy
from pando_shared.speed import assumed_speed

STEADY_PASSES = 60
#: So many jobs end and come between two of them.
_CHANGES = 3
_KIND = worker_kind("cuda", "sim", 72 << 30, 16384, BaseFormat(), None, False, None, 0)
#: A tenant whose jobs are all larger than its limit.
_LIMITED = "limited"
_POLICY = Policy(tenants={_LIMITED: TenantPolicy(limit=1e-6)})
_ADAPTERS: tuple[AdapterConfig, ...] = (
    LoraConfig(rank=8),
    LoraConfig(rank=32),
    PacaConfig(rank=16),
)


@dataclass(frozen=True)
class PassTimes:
    """Seconds. `empty` is the first pass ever, over idle workers; `cold` one that looks at
    everything anew on workers that are full; the others follow small changes. `held` of the jobs
    have starved and are kept back by their tenant's limit."""

    queued: int
    workers: int
    tenants: int
    held: int
    running: int
    empty_seconds: float
    cold_seconds: float
    steady_median_seconds: float
    steady_p95_seconds: float
    steady_max_seconds: float
    forecast_seconds: float


class Crowd:
    """A cluster with made-up jobs, driven by its plans."""

    def __init__(self, queued: int, workers: int, tenants: int, held: int = 0, seed: int = 1):
        self._random = random.Random(seed)
        self._tenants = tenants
        self.predict = LearntPredictor(catalogue_of(DEFAULT), 0.10)
        self.predict.learn({}, {(base, "sim"): assumed_speed("cuda") for base in DEFAULT})
        self.now = 1e6
        self._made = 0
        self.jobs: dict[str, JobView] = {}
        for number in range(queued):
            self.add(held=number < held)
        self.workers = [WorkerView(f"w{number:04}", _KIND) for number in range(workers)]

    def add(self, *, held: bool = False) -> JobView:
        """One more job; of one that is to be held back, the tenant may use next to nothing, and it
        has waited for as long as it takes to starve."""
        draw = self._random
        self._made += 1
        at = self.now - 3 * 3600.0 * draw.random() - held * _POLICY.starvation_seconds
        job = JobView(
            id=f"j{self._made:07}",
            tenant=_LIMITED if held else f"t{int(self._tenants * draw.random() ** 2)}",
            base_model=draw.choice(DEFAULT),
            rank=draw.choices([0, 1, 2], [0.05, 0.80, 0.15])[0],
            created_at=at,
            queued_at=at,
            size=job_size(
                draw.choice(_ADAPTERS),
                draw.choice([1, 2, 4, 8]) * draw.lognormvariate(6.8, 0.7),
                900,
            ),
            seconds_left=60.0 * draw.lognormvariate(3.0, 1.7),
        )
        self.jobs[job.id] = job
        return job

    def cluster(self, workers: Iterable[WorkerView], jobs: Iterable[JobView]) -> Cluster:
        cluster = Cluster(_POLICY, self.predict)
        for worker in workers:
            cluster.put_worker(worker, self.now)
        for job in jobs:
            cluster.put_job(job, self.now)
        return cluster

    def carry_out(self, cluster: Cluster, plan: Plan) -> None:
        now = self.now
        cluster.settle(now)
        cluster.note_reservations(plan.released, plan.reserved)
        for leave in plan.leaves:
            job = self.jobs[leave.job_id]
            cluster.drop_job(job.id, now)
            self._put(cluster, replace(job, worker_id=None, running=False, queued_at=now))
        for join in plan.joins:
            worker, job = cluster.workers[join.worker_id], self.jobs[join.job_id]
            if worker.base_model != job.base_model:
                kind = worker.kind.with_base(job.base_model)
                cluster.put_worker(replace(worker, kind=kind), now)
            ends_at = now + job.seconds_left
            placed = {"worker_id": worker.id, "running": True, "placed_at": now, "ends_at": ends_at}
            self._put(cluster, replace(job, **placed))

    def _put(self, cluster: Cluster, job: JobView) -> None:
        self.jobs[job.id] = job
        cluster.put_job(job, self.now)

    def change(self, cluster: Cluster) -> None:
        """A few jobs end, as many come."""
        running = sorted(cluster.placed(), key=lambda job: job.id)
        for job in self._random.sample(running, min(_CHANGES, len(running))):
            cluster.drop_job(job.id, self.now)
            del self.jobs[job.id]
        for _ in range(_CHANGES):
            self._put(cluster, self.add())


def _timed(cluster: Cluster, now: float) -> tuple[Plan, float]:
    began = time.process_time()
    plan = schedule(cluster, now)
    return plan, time.process_time() - began


def pass_times(queued: int, workers: int, tenants: int, held: int = 0) -> PassTimes:
    """Times with about so many jobs that wait on workers that are full."""
    crowd = Crowd(queued + 4 * workers, workers, tenants, held)
    cluster = crowd.cluster(crowd.workers, crowd.jobs.values())
    plan, empty = _timed(cluster, crowd.now)
    for _ in range(100):
        crowd.carry_out(cluster, plan)
        plan, _ = _timed(cluster, crowd.now)
        if not plan:
            break
    steady = []
    for _ in range(STEADY_PASSES):
        crowd.now += 5.0
        crowd.change(cluster)
        plan, seconds = _timed(cluster, crowd.now)
        steady.append(seconds)
        crowd.carry_out(cluster, plan)
    anew = crowd.cluster(cluster.workers.values(), crowd.jobs.values())
    anew.accounts.recall({t: m.usage(t) for t, m in cluster.accounts.meters.items()}, crowd.now)
    _, cold = _timed(anew, crowd.now)
    began = time.process_time()
    forecast(anew, crowd.now, {})
    forecasting = time.process_time() - began
    steady.sort()
    return PassTimes(
        queued=len(cluster.waiting),
        workers=workers,
        tenants=tenants,
        held=held,
        running=sum(1 for _ in cluster.placed()),
        empty_seconds=empty,
        cold_seconds=cold,
        steady_median_seconds=median(steady),
        steady_p95_seconds=quantile(steady, 0.95) or 0.0,
        steady_max_seconds=steady[-1],
        forecast_seconds=forecasting,
    )
