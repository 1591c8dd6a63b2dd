"""Jobs: what a user asked for, the state it is in, and the legal ways from state to state.

validating_files -> queued <-> running -> succeeded | failed
any live state   -> cancelled | failed;   queued, running -> paused -> queued
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pando_shared.adapters import AdapterConfig
from pando_shared.errors import IllegalTransition, StaleEpoch
from pando_shared.integrations import Integration
from pando_shared.training import TrainingConfig


class JobState(StrEnum):
    """The words of OpenAI's protocol, which clients compare against."""

    VALIDATING = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
_LEGAL: Mapping[JobState, frozenset[JobState]] = {
    JobState.VALIDATING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset(
        {JobState.RUNNING, JobState.PAUSED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    **dict.fromkeys(_TERMINAL, frozenset()),
}


class Priority(StrEnum):
    """Class of service; a higher class is placed first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Sorts ascending: high first."""
        return {"high": 0, "normal": 1, "low": 2}[self.value]


@dataclass(frozen=True, slots=True)
class HalvingRule:
    """Successive halving of a group of jobs (Jamieson & Talwalkar, 1502.07943, Algorithm 1).

    At each of `rungs` points of training the best 1/`eta` of the group by validation loss go on.
    """

    eta: int = 3
    rungs: int = 2


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What the user asked for. Never changes after submission."""

    tenant: str
    model: str
    training_file: str
    adapter: AdapterConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation_file: str | None = None
    suffix: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    #: Jobs of a tenant with one group are a sweep's trials.
    group: str | None = None
    #: How the group's losers are stopped early; None: they are not.
    halving: HalvingRule | None = None
    #: Where its curves are written to besides; at most one of a type.
    integrations: tuple[Integration, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What `prepare` found in one data file. `histogram[i]` counts lengths in [2^i, 2^(i+1))."""

    format: str
    examples: int
    tokens: int
    target_tokens: int
    longest: int
    truncated: int = 0
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training has come, as of the last report. Losses are means over target tokens."""

    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    trained_tokens: int = 0
    train_loss: float | None = None
    first_loss: float | None = None
    valid_loss: float | None = None
    best_valid_loss: float | None = None
    learning_rate: float = 0.0
    tokens_per_second: float = 0.0
    checkpoint_step: int = 0
    #: Validation loss at each rung of successive halving that was reached.
    rung_losses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a job. Void once it expires or the worker's incarnation changes."""

    worker_id: str
    incarnation: str
    expires_at: float


class YieldCause(StrEnum):
    """Why a job must give its place up."""

    #: A job of a higher class has waited long enough.
    PRIORITY = "priority"
    #: A job that needs far less time waits.
    SHORTER = "shorter"
    #: Its tenant has borrowed what another is guaranteed.
    RECLAIM = "reclaim"
    #: The worker was promised to a job that has starved.
    RESERVATION = "reservation"
    #: An operator empties the worker.
    DRAIN = "drain"
    #: The rung of its sweep is not decided yet.
    RUNG = "rung"


@dataclass(frozen=True, slots=True)
class Yield:
    """A running job is to leave its worker by a checkpoint, and to be queued again."""

    cause: YieldCause
    reason: str


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: OpenAI's `error` object."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One fine-tuning job. `epoch` fences writers: it grows whenever the job changes hands.

    `attempts` counts leases lost since the job last made durable progress, `lost_on` names the
    workers that were lost with it since then.
    """

    id: str
    spec: JobSpec
    created_at: float
    state: JobState = JobState.VALIDATING
    epoch: int = 0
    attempts: int = 0
    lease: Lease | None = None
    #: When it last came into the queue, and what it had waited there before that.
    queued_at: float | None = None
    waited_seconds: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    training_data: DatasetSummary | None = None
    validation_data: DatasetSummary | None = None
    #: Resolved once the data is known; `None` before.
    training: TrainingConfig | None = None
    progress: Progress = Progress()
    #: Bytes of a worker that trains this job alone, base model included: of its device, and of a
    #: GPU worker's host.
    predicted_peak_bytes: int | None = None
    predicted_host_bytes: int | None = None
    #: Predicted and measured peak of the fullest round this job was part of.
    round_predicted_bytes: int | None = None
    round_measured_bytes: int | None = None
    #: Set while the job is to leave its worker.
    yielding: Yield | None = None
    #: How often it left for a higher class or a tenant's guarantee.
    preemptions: int = 0
    lost_on: tuple[str, ...] = ()
    #: When it came to the worker that holds it.
    placed_at: float | None = None
    #: How often it alone was too much for a worker's memory.
    out_of_memory: int = 0
    #: Measured over predicted bytes of what this job adds to a worker; None: not measured yet.
    memory_ratio: float | None = None
    error: JobFailure | None = None
    fine_tuned_model: str | None = None
    result_files: tuple[str, ...] = ()
    #: Where in a trace it was asked for, as W3C's traceparent: what is done for it belongs there.
    #: None: there were no traces.
    traceparent: str | None = None

    @property
    def waits_since(self) -> float:
        """When it last came into the queue, or was submitted."""
        return self.created_at if self.queued_at is None else self.queued_at

    def to(self, state: JobState) -> Job:
        """The same job in another state: a lease survives only into states that may hold one, and
        what was said of its present stay on a worker is void.

        Raises:
            IllegalTransition: `state` cannot follow the present one.
        """
        if state not in _LEGAL[self.state]:
            raise IllegalTransition(
                f"job {self.id} is {self.state.value} and cannot become {state.value}"
            )
        lease = None if state.terminal else self.lease
        return replace(self, state=state, lease=lease, yielding=None, estimated_finish=None)

    def fenced(self, epoch: int) -> Job:
        """The job itself, if `epoch` is still its epoch and it has not ended.

        Raises:
            StaleEpoch: the writer's lease is gone.
        """
        if self.epoch != epoch or self.state.terminal:
            raise StaleEpoch(
                f"job {self.id} is {self.state.value} at epoch {self.epoch}, writer has {epoch}"
            )
        return self
