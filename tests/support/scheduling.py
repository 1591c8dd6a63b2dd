"""A scheduler on a stub store, with figures that can be added up by hand."""

from __future__ import annotations

from collections.abc import Sequence

from factories import make_job, make_worker

from pando_scheduler.cluster import Rules
from pando_scheduler.loop import SchedulerLoop
from pando_scheduler.metrics import SchedulerMetrics
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig
from pando_shared.clock import FakeClock
from pando_shared.jobs import Job
from pando_shared.memory import Needs
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore
from pando_shared.workers import Round, Worker

BASE_BYTES, HOST_BYTES = 100, 10
RULES = Rules(memory_headroom=0.10)


def predict(base_model: str, adapters: Sequence[AdapterConfig], worker: Worker) -> Needs | None:
    """100 for the base, and each LoRA adapter's rank; of a GPU worker's host 10, and each MEFT
    adapter's keys."""
    if base_model == "unknown":
        return None
    ranks = sum(adapter.rank for adapter in adapters if isinstance(adapter, LoraConfig))
    keys = sum(adapter.num_keys for adapter in adapters if isinstance(adapter, MeftConfig))
    return Needs(BASE_BYTES + ranks, 0 if worker.device == "cpu" else HOST_BYTES + keys)


def memory_of(keys: int) -> MeftConfig:
    """An adapter that takes this much of a host."""
    return MeftConfig(num_keys=keys, top_k=1)


class SchedulerBench:
    """A loop to drive by hand, and everything it touches."""

    def __init__(self, clock: FakeClock, storage: Storage):
        self.clock = clock
        self.storage = storage
        self.store = StubStore(clock)
        self.messenger = StubMessenger()
        self.metrics = SchedulerMetrics()
        self.loop = SchedulerLoop(
            self.store, storage, self.messenger, clock, RULES, predict, self.metrics
        )

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

    def begin(self, planned: Round) -> Round | None:
        """What a worker does on a round's message."""
        return self.store.begin_round(
            planned.id, planned.worker_id, planned.incarnation, self.clock.now()
        )

    def planned(self) -> list[Round]:
        return [planned for planned in self.store.rounds() if planned.started_at is None]

    def members(self, planned: Round) -> set[str]:
        return {place.job_id for place in planned.assignments}
