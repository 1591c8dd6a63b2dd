"""What a job says while it trains: its events, its progress, how long it will take."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

from pando_shared.jobs import Progress
from pando_shared.records import Event
from pando_shared.rungs import rung_loss
from pando_worker.engine.engine import StepReport, Validation

#: A job tells of about this many steps, however many it has, and of those that are validated.
_METRIC_EVENTS = 1000
#: Speed is measured over this many seconds.
_WINDOW_SECONDS = 15.0


@dataclass(slots=True)
class ProgressLog:
    """Turns one job's step reports into events and progress.

    `rungs` are the steps at which a sweep's trial is judged, ascending; other jobs have none.
    """

    progress: Progress
    rungs: tuple[int, ...] = ()
    _steps: deque[tuple[float, int, int]] = field(default_factory=deque)
    #: What the newest step would have said, had it not been thinned out.
    _unsaid: Event | None = None

    def started(self, now: float) -> None:
        """Speed counts from here: time between rounds is not the job's."""
        self._steps.clear()
        self._steps.append((now, self.progress.step, self.progress.trained_tokens))

    def step(self, report: StepReport, now: float) -> list[Event]:
        """Take in a finished optimizer step; returns the events worth publishing."""
        trained = self.progress.trained_tokens + report.tokens
        self._steps.append((now, report.step, trained))
        while len(self._steps) > 2 and now - self._steps[0][0] > _WINDOW_SECONDS:
            self._steps.popleft()
        then, _, before = self._steps[0]
        self.progress = replace(
            self.progress,
            step=report.step,
            total_steps=report.total_steps,
            epoch=report.epoch,
            trained_tokens=trained,
            train_loss=report.loss,
            first_loss=report.loss
            if self.progress.first_loss is None
            else self.progress.first_loss,
            learning_rate=report.learning_rate,
            tokens_per_second=(trained - before) / (now - then) if now > then else 0.0,
        )
        event = Event(
            created_at=now,
            message=f"Step {report.step}/{report.total_steps}: training loss={report.loss:.4f}",
            type="metrics",
            data={
                "step": report.step,
                "total_steps": report.total_steps,
                "epoch": round(report.epoch, 4),
                "train_loss": report.loss,
                "train_mean_token_accuracy": report.token_accuracy,
                "learning_rate": report.learning_rate,
                "gradient_norm": report.gradient_norm,
                "tokens_per_second": round(self.progress.tokens_per_second, 1),
            },
        )
        stride = math.ceil(report.total_steps / _METRIC_EVENTS)
        if report.step % stride and report.step != report.total_steps:
            self._unsaid = event
            return []
        self._unsaid = None
        return [event]

    @property
    def at_rung(self) -> bool:
        """Whether the newest step is to be validated for the sweep's sake.

        It is at a rung; or a rung was passed whose loss got lost, for a worker may be killed when
        its checkpoint is kept already and what it said of it is not.
        """
        return self.progress.step in self.rungs or self._unrecorded > 0

    @property
    def _unrecorded(self) -> int:
        passed = sum(step <= self.progress.step for step in self.rungs)
        return max(0, passed - len(self.progress.rung_losses))

    def validated(self, result: Validation, now: float) -> list[Event]:
        """Take in a validation; returns the events worth publishing. The step's own is among them
        where it was thinned out, so that a validated step's row in the results lacks nothing.

        A rung's loss is kept once: trained again from an earlier checkpoint, the trial comes by
        with the same weights, and what was decided by its loss stays true.
        """
        best = self.progress.best_valid_loss
        losses = self.progress.rung_losses
        self.progress = replace(
            self.progress,
            valid_loss=result.loss,
            best_valid_loss=result.loss if best is None else min(best, result.loss),
            rung_losses=losses + (rung_loss(result.loss),) * self._unrecorded,
        )
        step, total = self.progress.step, self.progress.total_steps
        unsaid, self._unsaid = self._unsaid, None
        event = Event(
            created_at=now,
            message=f"Step {step}/{total}: validation loss={result.loss:.4f}",
            type="metrics",
            data={
                "step": step,
                "total_steps": total,
                "valid_loss": result.loss,
                "valid_mean_token_accuracy": result.token_accuracy,
            },
        )
        return [event] if unsaid is None else [unsaid, event]

    def estimated_finish(self, now: float) -> float | None:
        """When the last step will be done at the present speed, in seconds since the epoch."""
        then, before, _ = self._steps[0]
        done = self.progress.step - before
        if done <= 0 or now <= then:
            return None
        return now + (self.progress.total_steps - self.progress.step) * (now - then) / done
