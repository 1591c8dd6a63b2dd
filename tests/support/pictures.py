"""Clusters in memory as the policy sees them, with figures that can be added up by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.picture import JobView, WorkerKind, WorkerView, job_size
from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.footprint import Footprint
from pando_shared.jobs import Priority
from pando_shared.memory import Needs
from pando_shared.policy import ClassPolicy, Policy

GIB = 1 << 30
NOW = 1_700_000_000.0
BASE_GIB, HOST_GIB = 10, 2
SWAP_SECONDS = 60.0

_numbers = itertools.count(1)
#: Every class bears to be slowed down twice.
POLICY = Policy(
    classes={priority: ClassPolicy(300.0, 2.0) for priority in Priority},
    minimum_gain=0.25,
)


class ByHand:
    """A base takes 10 GiB, a LoRA job its rank in GiB, a MEFT job 1 GiB and its keys of a host,
    which holds 2 GiB without it. Every job keeps `alone` of a worker busy."""

    version = 0

    def __init__(self, alone: float = 0.5, interference: float = 0.0):
        self.alone = alone
        self.interference = interference

    def knows(self, base_model: str) -> bool:
        return base_model != "unknown"

    def footprint(self, job: JobView, worker: WorkerView) -> Footprint | None:
        if not self.knows(job.base_model):
            return None
        adapter = job.size.adapter
        if isinstance(adapter, MeftConfig):
            return Footprint(1, GIB, adapter.num_keys * GIB)
        assert isinstance(adapter, LoraConfig)
        return Footprint(1, adapter.rank * GIB)

    def needs(self, worker: WorkerView, base_model: str, footprint: Footprint) -> Needs:
        return Needs(BASE_GIB * GIB + footprint.device_bytes, HOST_GIB * GIB + footprint.host_bytes)

    def demand(self, job: JobView, worker: WorkerView) -> float:
        return self.alone

    def slowdown(self, worker: WorkerView, base_model: str, demand: float, count: int) -> float:
        return max(1.0, demand) * (1 + self.interference * max(0, count - 1))

    def swap_seconds(self, worker: WorkerView, base_model: str) -> float:
        return 0.0 if worker.base_model == base_model else SWAP_SECONDS


def worker_view(
    worker_id: str = "w1",
    gib: int = 24,
    base: str | None = "tiny",
    bases: tuple[str, ...] | None = None,
    draining: bool = False,
    host_gib: int | None = None,
    device: str = "cuda:0",
) -> WorkerView:
    host = None if host_gib is None else host_gib * GIB
    kind = WorkerKind(device, "card", gib * GIB, 1024, host_budget_bytes=host, base_model=base)
    return WorkerView(worker_id, kind, None if bases is None else frozenset(bases), draining)


def job_view(
    rank: int = 1,
    *,
    keys: int | None = None,
    on: str | None = None,
    waited: float = 0.0,
    out_of_memory: int = 0,
    **fields: object,
) -> JobView:
    """A job that waits and takes 7,200 s alone, or trains on a worker and ends in 600 s."""
    adapter = LoraConfig(rank=rank) if keys is None else MeftConfig(num_keys=keys, top_k=1)
    number = next(_numbers)
    job = JobView(
        id=f"job-{number:06d}",
        tenant="acme",
        base_model="tiny",
        rank=1,
        created_at=NOW - waited + number * 1e-6,
        queued_at=NOW - waited,
        size=job_size(adapter, 1000.0, 0, out_of_memory),
        seconds_left=7200.0,
        worker_id=on,
        running=on is not None,
        placed_at=NOW - 30.0,
        ends_at=NOW + 600.0,
    )
    return replace(job, **fields)  # type: ignore[arg-type]


def cluster_of(
    *things: WorkerView | JobView, policy: Policy | None = None, predict: ByHand | None = None
) -> Cluster:
    cluster = Cluster(policy or POLICY, predict or ByHand())
    for thing in things:
        if isinstance(thing, WorkerView):
            cluster.put_worker(thing, NOW)
    for thing in things:
        if isinstance(thing, JobView):
            cluster.put_job(thing, NOW)
    return cluster
