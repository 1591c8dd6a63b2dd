"""Jobs and workers as the policy sees them: what a decision rests on, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache

from pando_shared.adapters import AdapterConfig
from pando_shared.base_format import BaseFormat
from pando_shared.footprint import Footprint
from pando_shared.workers import Worker

NO_FOOTPRINT = Footprint()


@dataclass(frozen=True, slots=True, eq=False)
class JobSize:
    """What decides how much a job takes of a worker. One object for all jobs that are alike."""

    adapter: AdapterConfig
    #: Tokens of an optimizer step, in the mean.
    step_tokens: float
    #: Tokens of the longest sequence; 0: not known.
    longest: int
    out_of_memory: int


@dataclass(frozen=True, slots=True, eq=False)
class WorkerKind:
    """What decides how much room a worker has. One object for all workers that are alike.

    `budget_bytes` is what it is trusted to have; `resident_bytes` what `base_model`, if it has one
    in memory, was measured to take.
    """

    device: str
    device_kind: str
    budget_bytes: int
    token_budget: int
    base_format: BaseFormat = field(default_factory=BaseFormat)
    host_budget_bytes: int | None = None
    rows_on_disk: bool = False
    base_model: str | None = None
    resident_bytes: int = 0

    def with_base(self, base_model: str | None) -> WorkerKind:
        """The one object for the same kind with this base in memory."""
        return worker_kind(
            self.device,
            self.device_kind,
            self.budget_bytes,
            self.token_budget,
            self.base_format,
            self.host_budget_bytes,
            self.rows_on_disk,
            base_model,
            0,
        )

    def worker(self) -> Worker:
        """One of them, as it would describe itself."""
        return Worker(
            id="any",
            incarnation="",
            device=self.device,
            budget_bytes=self.budget_bytes,
            heartbeat_at=0.0,
            token_budget=self.token_budget,
            base_format=self.base_format,
            base_model=self.base_model,
            resident_bytes=self.resident_bytes,
            host_budget_bytes=self.host_budget_bytes,
            rows_on_disk=self.rows_on_disk,
            device_kind=self.device_kind,
        )


def job_size(
    adapter: AdapterConfig, step_tokens: float, longest: int = 0, out_of_memory: int = 0
) -> JobSize:
    """The one object for these values. Steps are told apart to a tenth of their size."""
    return _size(adapter, _rounded(step_tokens), longest, out_of_memory)


@cache
def _size(adapter: AdapterConfig, step_tokens: float, longest: int, out_of_memory: int) -> JobSize:
    return JobSize(adapter, step_tokens, longest, out_of_memory)


def _rounded(step_tokens: float) -> float:
    return 1.1 ** round(math.log(max(1.0, step_tokens), 1.1))


@cache
def worker_kind(
    device: str,
    device_kind: str,
    budget_bytes: int,
    token_budget: int,
    base_format: BaseFormat,
    host_budget_bytes: int | None,
    rows_on_disk: bool,
    base_model: str | None,
    resident_bytes: int,
) -> WorkerKind:
    """The one object for these values."""
    return WorkerKind(
        device,
        device_kind,
        budget_bytes,
        token_budget,
        base_format,
        host_budget_bytes,
        rows_on_disk,
        base_model,
        resident_bytes,
    )


@dataclass(frozen=True, slots=True)
class JobView:
    """A job that waits or holds a place. Times are Unix seconds.

    `rank` is its class, 0 the highest. Jobs of one `size` take the same of like workers.
    `seconds_left` is what is left of it, alone on a worker. `worker_id` is where it holds a lease;
    `running` says that it trains there, else it is only about to leave.
    """

    id: str
    tenant: str
    base_model: str
    rank: int
    created_at: float
    queued_at: float
    size: JobSize
    seconds_left: float
    #: What its predictors need to know beside its size: measured over predicted bytes.
    memory_ratio: float | None = None
    worker_id: str | None = None
    running: bool = False
    #: It has been told to leave.
    yielding: bool = False
    placed_at: float = 0.0
    #: When it will end at its present speed.
    ends_at: float = 0.0
    preemptions: int = 0
    #: It must train alone: it may be what killed its worker, or it ran out of memory.
    alone: bool = False
    #: Workers that were lost with it.
    avoids: tuple[str, ...] = ()
    #: Why it must not be placed now; None: it may.
    held: str | None = None

    @property
    def queued(self) -> bool:
        """It waits, and nobody holds it any more."""
        return self.worker_id is None

    @property
    def bucket(self) -> int:
        """What is left of it in octaves of a minute, by which short jobs come first."""
        return int(math.log2(1.0 + max(0.0, self.seconds_left) / 60.0))

    @property
    def shape(self) -> Hashable:
        """Of two jobs of one shape, a worker that has no room for one has none for the other."""
        return (self.base_model, self.size, self.memory_ratio, self.rank, self.bucket, self.alone)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A live worker. `bases` are those it can load; None: any."""

    id: str
    kind: WorkerKind
    bases: frozenset[str] | None = None
    #: An operator empties it: nobody joins, everybody leaves.
    draining: bool = False

    @property
    def base_model(self) -> str | None:
        """The base in its memory."""
        return self.kind.base_model

    def offers(self, base_model: str) -> bool:
        return self.bases is None or base_model in self.bases


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker has on it, or would have: sums over the jobs that it holds.

    `demand` adds up the share of the worker that each job alone would keep busy. `tightest` is the
    least slowdown that one of them may suffer, `shortest` when the first of them ends, `longest`
    when the last does (Unix seconds, at its present speed).
    """

    base_model: str | None = None
    count: int = 0
    footprint: Footprint = NO_FOOTPRINT
    demand: float = 0.0
    tightest: float = math.inf
    shortest: float = math.inf
    longest: float = 0.0
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A worker that is kept for a job that has starved, and is emptied when that is `due`."""

    job_id: str
    worker_id: str
    due: float
