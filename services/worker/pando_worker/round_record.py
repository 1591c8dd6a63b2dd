"""What happens in a round, noted down for the report that the scheduler learns from."""

from __future__ import annotations

from dataclasses import dataclass, field

from pando_shared.jobs import Job
from pando_shared.reports import JobService, RoundReport
from pando_shared.workers import Worker
from pando_worker.engine.engine import Engine, StepReport
from pando_worker.expectation import Expectation


@dataclass(slots=True)
class RoundRecord:
    """Filled in while the round runs. `seconds` is the time of training steps alone."""

    expected: Expectation
    tokens: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    #: Tokens in work at once, at most.
    microbatch_tokens: int = 0
    out_of_memory: int = 0

    def trained(self, report: StepReport) -> None:
        """One job finished a step."""
        self.tokens[report.job_id] = self.tokens.get(report.job_id, 0) + report.tokens
        self.steps[report.job_id] = self.steps.get(report.job_id, 0) + 1

    def ran(self, tokens: int, seconds: float) -> None:
        """A microbatch is over."""
        self.microbatch_tokens = max(self.microbatch_tokens, tokens)
        self.seconds += seconds

    def ran_out_of_memory(self, tokens: int) -> None:
        """One with so many tokens at most was tried."""
        self.microbatch_tokens = max(self.microbatch_tokens, tokens)
        self.out_of_memory += 1

    def report(self, worker: Worker, engine: Engine, peak: int) -> RoundReport:
        """`peak`: bytes of the device."""
        expected = self.expected
        return RoundReport(
            worker_id=worker.id,
            incarnation=worker.incarnation,
            base_model=worker.base_model or "",
            device=worker.device_kind,
            jobs=tuple(self._service(job, engine) for job in expected.jobs.values()),
            seconds=self.seconds,
            microbatch_tokens=self.microbatch_tokens,
            longest=expected.longest,
            resident_bytes=worker.resident_bytes,
            predicted_bytes=expected.peak_bytes(engine.recompute, self.microbatch_tokens),
            measured_bytes=peak,
            out_of_memory=self.out_of_memory,
            recompute=engine.recompute,
        )

    def _service(self, job: Job, engine: Engine) -> JobService:
        tokens, steps = self.tokens.get(job.id, 0), self.steps.get(job.id, 0)
        step_tokens = tokens / steps if steps else 0.0
        resident = engine.jobs.get(job.id)
        if not steps and resident is not None and resident.batch is not None:
            step_tokens = float(resident.batch.tokens)
        return JobService(job.id, job.spec.adapter, tokens, steps, step_tokens)
