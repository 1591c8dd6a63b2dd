"""A scheduler on a stub store, with figures that can be added up by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from factories import make_job, make_worker

from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.loop import SchedulerLoop, Surroundings
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.picture import JobSize, JobView, WorkerKind, WorkerView
from pando_scheduler.rules import Rules
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.clock import FakeClock
from pando_shared.footprint import Footprint
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job
from pando_shared.memory import Needs
from pando_shared.policy_file import PolicyFile
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore
from pando_shared.workers import Round, Worker

BASE_BYTES, HOST_BYTES = 100, 10
RULES = Rules(memory_headroom=0.10)
#: The share of a worker that any job keeps busy alone.
DEMAND = 0.1


class ByHand(LearntPredictor):
    """100 for the base, and each LoRA adapter's rank; of a GPU worker's host 10, and each MEFT
    adapter's keys. Ten jobs keep a worker busy; a token takes a hundredth of a second."""

    def __init__(self) -> None:
        super().__init__({}, RULES.memory_headroom)

    def knows(self, base_model: str) -> bool:
        return base_model != "unknown"

    def footprint(self, job: JobView, worker: WorkerView) -> Footprint | None:
        if not self.knows(job.base_model):
            return None
        on_gpu = worker.kind.device != "cpu"
        match job.size.adapter:
            case LoraConfig(rank=rank) | PacaConfig(rank=rank):
                return Footprint(1, device_bytes=rank)
            case MeftConfig(num_keys=keys):
                return Footprint(1, host_bytes=keys if on_gpu else 0)

    def needs(self, worker: WorkerView, base_model: str, footprint: Footprint) -> Needs:
        if not footprint.count:
            return Needs(0)
        factor = 1 + RULES.memory_headroom
        host = HOST_BYTES + footprint.host_bytes if worker.kind.device != "cpu" else 0
        device = BASE_BYTES + footprint.device_bytes
        return Needs(math.ceil(device * factor), math.ceil(host * factor))

    def headroom(self, worker: WorkerView, base_model: str) -> float:
        return RULES.memory_headroom

    def demand(self, job: JobView, worker: WorkerView) -> float:
        return DEMAND

    def slowdown(self, worker: WorkerView, base_model: str, demand: float, count: int) -> float:
        return max(1.0, demand)

    def alone_seconds(
        self, size: JobSize, base_model: str, tokens: float, kind: WorkerKind
    ) -> float:
        return tokens / 100.0

    def swap_seconds(self, worker: WorkerView, base_model: str) -> float:
        return 0.0 if worker.base_model == base_model else 10.0


def memory_of(keys: int) -> MeftConfig:
    """An adapter that takes this much of a host."""
    return MeftConfig(num_keys=keys, top_k=1)


class SchedulerBench:
    """A loop to drive by hand, and everything it touches."""

    def __init__(self, clock: FakeClock, storage: Storage, policy: Path | None = None):
        self.clock = clock
        self.storage = storage
        self.store = StubStore(clock)
        self.messenger = StubMessenger()
        self.metrics = SchedulerMetrics()
        self.policy_file = PolicyFile(policy, clock)
        self.loop = self.another()

    def another(self) -> SchedulerLoop:
        """A second scheduler over the same store."""
        around = Surroundings(
            self.store, self.storage, self.messenger, self.clock, self.policy_file
        )
        return SchedulerLoop(around, RULES, ByHand(), self.metrics)

    def worker(self, worker_id: str = "w1", **fields: object) -> Worker:
        """A worker that has just reported."""
        worker = make_worker(worker_id, heartbeat_at=self.clock.now(), **fields)
        self.store.put_worker(worker)
        return worker

    def job(self, *args: object, **fields: object) -> Job:
        return self.store.create_job(make_job(*args, **fields))  # type: ignore[arg-type]

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.tick()

    def advance(self, seconds: float) -> None:
        """Time passes; workers go on reporting, and renewing what they hold."""
        self.clock.advance(seconds)
        for worker in self.store.list_workers():
            self.store.put_worker(replace(worker, heartbeat_at=self.clock.now()))
        for job in self.store.leased_jobs():
            assert job.lease is not None
            lease = replace(job.lease, expires_at=self.clock.now() + RULES.lease_seconds)
            self.store.update_job(job.id, lambda job, lease=lease: replace(job, lease=lease))

    def begin(self, planned: Round) -> Round | None:
        """What a worker does on a round's message."""
        return self.store.begin_round(
            planned.id, planned.worker_id, planned.incarnation, self.clock.now()
        )

    def give_back(self, job_id: str) -> None:
        """A worker lets go of a job, by a checkpoint."""
        self.store.update_job(job_id, lambda job: replace(job, lease=None))

    def planned(self) -> list[Round]:
        return [planned for planned in self.store.rounds() if planned.started_at is None]

    def members(self, planned: Round) -> set[str]:
        return {place.job_id for place in planned.assignments}

    def forecast(self, job_id: str) -> Forecast | None:
        return self.store.forecasts([job_id])[0]

    def reason(self, job_id: str) -> str:
        """Why a job waits, as its user reads it."""
        found = self.forecast(job_id)
        return (found.reason or "") if found is not None else ""
