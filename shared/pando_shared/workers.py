"""Workers, and the rounds they run: the unit of scheduling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_shared.base_format import BaseFormat
from pando_shared.reports import Probe


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process as it last described itself.

    `incarnation` is new with every process; leases of an earlier one are void. `budget_bytes` is
    what the worker may use of its device in all; `resident_bytes` what it holds with its base and
    no adapter (0 until a base is loaded). `host_budget_bytes` is what a GPU worker may use of its
    host's memory; None: there is no limit, or, on a CPU, no second memory. A worker is alive while
    `heartbeat_at` is recent.
    """

    id: str
    incarnation: str
    device: str
    budget_bytes: int
    heartbeat_at: float
    token_budget: int
    #: How this worker holds bases.
    base_format: BaseFormat = field(default_factory=BaseFormat)
    base_model: str | None = None
    resident_bytes: int = 0
    peak_bytes: int = 0
    tokens_per_second: float = 0.0
    round_gap_seconds: float = 0.0
    models: tuple[str, ...] = ()
    host_budget_bytes: int | None = None
    #: Whether values and moments of MEFT's rows are mapped from a disk.
    rows_on_disk: bool = False
    #: The device's name, for predictions that are learnt from all that are alike.
    device_kind: str = "cpu"
    #: What loading the present base showed; None: it was not measured.
    probe: Probe | None = None
    #: `host:port` where Prometheus finds it; None: it serves no metrics.
    metrics_address: str | None = None
    #: The incarnation that the kernel killed last because memory ran out: this one or the one
    #: before; None: that is not known of any.
    killed_for_memory: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One job's seat in a round, at the epoch under which its writes are accepted."""

    job_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Round:
    """One worker, one base model, a set of jobs, a deadline. One Celery message."""

    id: str
    worker_id: str
    incarnation: str
    base_model: str
    assignments: tuple[Assignment, ...]
    seconds: float
    #: What is set aside for it: the predicted peak, head-room included.
    predicted_bytes: int
    planned_at: float
    #: When the worker began it; `None` while it waits in the worker's queue.
    started_at: float | None = None
    #: Each job's part of the worker's tokens where tenants compete, by id; empty: all are equal.
    shares: Mapping[str, float] = field(default_factory=dict)
    #: The share of its prediction that the worker keeps free on top of it.
    headroom: float = 0.10


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Generate text from a base (`adapter_path` None) or from an exported adapter in storage."""

    id: str
    base_model: str
    adapter_path: str | None
    prompt: str | None
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleChunk:
    """A piece of generated text; the last one has a `finish_reason` (stop, length or error).

    `tokens` and `prompt_tokens` count all there were up to this piece.
    """

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    finish_reason: str | None = None
    error: str | None = None
