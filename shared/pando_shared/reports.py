"""What a worker tells of a round that is over. The scheduler's predictions are fitted to these."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.adapters import AdapterConfig
from pando_shared.recompute import Recompute


@dataclass(frozen=True, slots=True)
class JobService:
    """What one job got in a round.

    `tokens` are those of finished optimizer steps; `step_tokens` is the mean of one step.
    """

    job_id: str
    adapter: AdapterConfig
    tokens: int
    steps: int
    step_tokens: float


@dataclass(frozen=True, slots=True)
class RoundReport:
    """A round as it was. Bytes are peaks of the worker's device.

    `seconds` is training time alone. `microbatch_tokens` is the largest microbatch that was run,
    `longest` the longest sequence of the jobs' data. `device` is the kind of device, one string for
    all that are alike. `out_of_memory` counts the errors that were survived. `recompute` is what
    the backward pass made again.
    """

    worker_id: str
    incarnation: str
    base_model: str
    device: str
    jobs: tuple[JobService, ...]
    seconds: float
    microbatch_tokens: int
    longest: int
    resident_bytes: int
    predicted_bytes: int
    measured_bytes: int
    out_of_memory: int = 0
    recompute: Recompute = Recompute.CHEAP

    @property
    def tokens(self) -> int:
        return sum(job.tokens for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Probe:
    """Peak bytes of a worker at two sizes of microbatch, measured when it loaded its base.

    One small adapter trained `tokens[i]` tokens, and the worker's peak was `peak_bytes[i]`.
    """

    base_model: str
    tokens: tuple[int, int]
    peak_bytes: tuple[int, int]
