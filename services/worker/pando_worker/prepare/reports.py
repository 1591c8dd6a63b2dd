"""What a job's history says about its data."""

from __future__ import annotations

from pando_shared.jobs import JobFailure
from pando_shared.records import Event
from pando_shared.training import Plan, TrainingConfig
from pando_worker.prepare.dataset import Prepared


def summary_events(
    asked: TrainingConfig,
    max_positions: int,
    plan: Plan,
    train: Prepared,
    valid: Prepared | None,
    now: float,
) -> tuple[Event, ...]:
    """Warnings first, then what was found and what will be done with it."""
    events = []
    asked_length = asked.max_seq_length
    if asked_length is not None and asked_length > max_positions:
        events.append(
            Event(
                now,
                f"max_seq_length {asked_length:,} exceeds the model's {max_positions:,} positions; "
                f"{max_positions:,} is used",
                level="warn",
            )
        )
    events += _file_events("Training file", train, now)
    if valid is not None:
        events += _file_events("Validation file", valid, now)
    shape = f"{plan.n_epochs} epochs of {plan.steps_per_epoch:,}, batch {plan.batch_size}"
    rate = f"learning rate {plan.learning_rate:g}"
    return (*events, Event(now, f"Queued: {plan.total_steps:,} steps ({shape}), {rate}"))


def _file_events(name: str, data: Prepared, now: float) -> list[Event]:
    found = data.summary
    counted = Event(
        now,
        f"{name}: {found.examples:,} {found.format} examples, {found.tokens:,} tokens "
        f"({found.target_tokens:,} to learn), the longest has {found.longest:,}",
    )
    if not found.truncated:
        return [counted]
    cut = Event(
        now,
        f"{name}: {found.truncated:,} of {found.examples:,} examples were too long and have been "
        f"cut to {found.longest:,} tokens (the first on line {data.first_truncated:,})",
        level="warn",
    )
    return [cut, counted]


def failure_event(failure: JobFailure, now: float) -> Event:
    return Event(now, f"Failed: {failure.message}", level="error")
