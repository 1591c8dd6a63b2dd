"""Trains many adapters together on one frozen base: join, step, leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from pando_kernels.plan import AdapterSet
from pando_shared.adapters import PacaConfig
from pando_shared.errors import InvalidRequest
from pando_shared.recompute import Recompute
from pando_worker.engine.adapters import build_adapter
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.device import free_tokens
from pando_worker.engine.folding import folded
from pando_worker.engine.fused_decoder import FusedDecoder
from pando_worker.engine.job import ResidentJob, TrainingJob
from pando_worker.engine.lanes import Lanes
from pando_worker.engine.microbatch import Result, run_microbatch
from pando_worker.engine.optimizer import FinishedStep, finish_steps
from pando_worker.engine.packed_batch import Share
from pando_worker.engine.rows_home import RowsHome, make_home
from pando_worker.engine.turn_taking import TurnTaking


@dataclass(frozen=True, slots=True)
class StepReport:
    """One job finished an optimizer step. Loss and accuracy are means over its target tokens."""

    job_id: str
    step: int
    total_steps: int
    epoch: float
    loss: float
    token_accuracy: float
    learning_rate: float
    gradient_norm: float
    tokens: int


@dataclass(frozen=True, slots=True)
class JobFailed:
    """One job cannot go on and has left; its neighbours never noticed."""

    job_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Validation:
    """Means over all target tokens of a job's validation data."""

    loss: float
    token_accuracy: float
    improved: bool


class Engine:
    """Holds a base and the resident jobs' adapters. Not thread-safe: one thread steps it."""

    def __init__(
        self,
        base: BaseModel,
        token_budget: int,
        lanes: int = 1,
        folds: bool | None = None,
        home: RowsHome | None = None,
    ):
        """`token_budget`: tokens in work at once, at most (a longer sequence travels alone).

        `lanes`: microbatches that run side by side where there are as many jobs; for a CPU with
        as many cores.
        `folds`: whether a PaCA job that is alone is written into the base for the time. None: where
        the base is fp32. In 16 bit the columns round the delta, and a job would learn a little
        differently alone than beside others.
        `home`: where MEFT jobs' rows are; None: in the host's memory.
        """
        self.base = base
        self._lanes = Lanes(lanes)
        self.home = home or make_home(base.device, base.dtype)
        self.full_token_budget = token_budget
        #: Lowered for a while where memory runs out.
        self.token_budget = token_budget
        #: Of the microbatches of the last `step`, even if it failed.
        self.tokens_in_work = 0
        self._jobs: dict[str, ResidentJob] = {}
        self._adapters = AdapterSet(())
        self._folds = base.dtype == torch.float32 if folds is None else folds
        self._slots: dict[str, int] = {}
        self._turns = TurnTaking(lanes, free_tokens(base.device))

    @property
    def recompute(self) -> Recompute:
        """What the backward pass makes again to spare memory; may change between steps."""
        decoder = self.base.decoder
        return decoder.recompute if isinstance(decoder, FusedDecoder) else Recompute.NOTHING

    @recompute.setter
    def recompute(self, recompute: Recompute) -> None:
        """A base that runs by module keeps everything, whatever it is told."""
        if isinstance(self.base.decoder, FusedDecoder):
            self.base.decoder.recompute = recompute

    @property
    def shares(self) -> Mapping[str, float]:
        """In what proportion jobs get tokens while all have work, by job id; empty: the same for
        all, as far as their steps let them. May change between steps.

        A job without one is as good as the least. Only positive numbers count.
        """
        return self._turns.shares

    @shares.setter
    def shares(self, shares: Mapping[str, float]) -> None:
        self._turns.set_shares(shares, self._active, self.token_budget)

    @property
    def _active(self) -> list[ResidentJob]:
        return [job for job in self._jobs.values() if not job.finished]

    @property
    def jobs(self) -> Mapping[str, ResidentJob]:
        return self._jobs

    def join(self, job: TrainingJob) -> ResidentJob:
        """Make a job resident with a fresh adapter; `restore` puts it where a checkpoint was.

        Raises:
            InvalidRequest: its adapter does not fit this base, or it is resident already.
            OSError: the disk that a MEFT job's rows are mapped to has no room for them.
        """
        if job.id in self._jobs:
            raise InvalidRequest(f"job {job.id} is resident already")
        adapter = build_adapter(self.base, job.adapter, job.plan.config.seed, self.home)
        resident = ResidentJob(job, adapter)
        # A newcomer starts level with the least served, so it neither waits nor takes over.
        resident.served_tokens = min((job.served_tokens for job in self._active), default=0)
        self._jobs[job.id] = resident
        self._seat()
        return resident

    def leave(self, job_id: str) -> ResidentJob:
        """Take a job out; a step in progress is given up. Raises KeyError."""
        resident = self._jobs.pop(job_id)
        self._seat()
        resident.abandon_batch()
        if all(job.adapter.memory is None for job in self._jobs.values()):
            self.home.free()
        return resident

    def _seat(self) -> None:
        """Give every resident job a slot, which kernels know its adapter by."""
        self._adapters = AdapterSet(tuple(job.adapter.layers for job in self._jobs.values()))
        self._slots = {job_id: slot for slot, job_id in enumerate(self._jobs)}

    def step(self) -> list[StepReport | JobFailed]:
        """Microbatches of unfinished jobs' sequences, and the optimizer steps they complete."""
        active = self._active
        planned = self._turns.take(active, self.token_budget)
        self.tokens_in_work = 0
        if not planned.batches:
            return []
        batches = [
            [(self._jobs[job_id], count) for job_id, count in taken.items()]
            for taken in planned.batches
        ]
        shares = [[self._share(resident, count) for resident, count in batch] for batch in batches]
        self.tokens_in_work = sum(share.tokens for batch in shares for share in batch)
        found = self._run(shares)
        turns = [turn for batch in batches for turn in batch]
        parts = [share for batch in shares for share in batch]
        results = [result for lane in found for result in lane]
        for (resident, count), part, result in zip(turns, parts, results, strict=True):
            self._turns.count(resident, part.tokens, planned)
            batch = resident.current_batch()
            del batch.pending[:count]
            batch.loss += result.loss
            batch.hits += result.hits
        reports = self._finish([resident for resident, _ in turns])
        self._turns.settle(active, self.token_budget)
        return reports

    def _finish(self, residents: Sequence[ResidentJob]) -> list[StepReport | JobFailed]:
        """Take the optimizer steps of jobs whose batch is through; what is not finite fails."""
        reports: list[StepReport | JobFailed] = []
        due = []
        for resident in residents:
            loss = resident.current_batch().loss
            if not math.isfinite(loss):
                reports.append(self._fail(resident, "non_finite_loss", f"the loss is {loss}"))
            elif not resident.current_batch().pending:
                due.append(resident)
        for resident, step in zip(due, finish_steps(due), strict=True):
            if step.finite:
                reports.append(_report(resident, step))
            else:
                message = "the gradient is not finite"
                reports.append(self._fail(resident, "non_finite_gradient", message))
        return reports

    def _fail(self, resident: ResidentJob, code: str, what: str) -> JobFailed:
        self.leave(resident.job.id)
        message = f"in step {resident.step + 1} {what}; a lower learning rate usually helps"
        return JobFailed(resident.job.id, code, message)

    def _run(self, batches: Sequence[Sequence[Share]]) -> list[list[Result]]:
        """Forward and backward; a PaCA job that is alone is spared all overhead."""
        alone = next(iter(self._jobs.values())) if len(self._jobs) == 1 else None
        if not self._folds or alone is None or not isinstance(alone.job.adapter, PacaConfig):
            return self._lanes.run(self.base, self._adapters, batches, train=True)
        with folded(self.base, alone.adapter) as done:
            adapters = replace(self._adapters, folded=done)
            return self._lanes.run(self.base, adapters, batches, train=True)

    def _share(self, resident: ResidentJob, count: int) -> Share:
        """The job's next `count` sequences, weighed so that its loss is a mean over targets."""
        batch = resident.current_batch()
        return Share(
            slot=self._slots[resident.job.id],
            sequences=batch.pending[:count],
            target_weight=1.0 / max(1, batch.targets),
            dropout_keys=resident.dropout_keys(count),
            sequence_weight=1.0 / batch.sequences,
        )

    def validate(self, job_id: str) -> Validation:
        """Loss over a job's whole validation data, without dropout; counts towards early stopping.

        Raises:
            InvalidRequest: the job has no validation data.
        """
        resident = self._jobs[job_id]
        valid = resident.job.valid
        if valid is None:
            raise InvalidRequest(f"job {job_id} has no validation data")
        loss, hits, targets, index = 0.0, 0, 0, 0
        while index < len(valid):
            sequences = [valid.sequence(index)]
            room = self.token_budget - len(sequences[0][0])
            index += 1
            while index < len(valid) and len(valid.sequence(index)[0]) <= room:
                sequences.append(valid.sequence(index))
                room -= len(sequences[-1][0])
                index += 1
            share = Share(self._slots[job_id], sequences, 0.0)
            (result,) = run_microbatch(self.base, self._adapters, [share], train=False)
            loss, hits, targets = (
                loss + result.loss,
                hits + result.hits,
                targets + result.targets,
            )
        mean = loss / max(1, targets)
        improved = mean < resident.best_valid_loss
        if improved:  # not min(), which a loss that is NaN would get the better of
            resident.best_valid_loss = mean
        resident.validations_without_gain = 0 if improved else resident.validations_without_gain + 1
        return Validation(mean, hits / max(1, targets), improved)


def _report(resident: ResidentJob, step: FinishedStep) -> StepReport:
    """Closes the batch of a step that is done."""
    batch, plan = resident.current_batch(), resident.job.plan
    resident.batch = None
    resident.trained_tokens += batch.tokens
    return StepReport(
        job_id=resident.job.id,
        step=resident.step,
        total_steps=plan.total_steps,
        epoch=resident.step / plan.steps_per_epoch,
        loss=batch.loss / max(1, batch.targets),
        token_accuracy=batch.hits / max(1, batch.targets),
        learning_rate=step.learning_rate,
        gradient_norm=step.gradient_norm,
        tokens=batch.tokens,
    )
