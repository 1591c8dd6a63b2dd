"""What a job told of its steps: a row a step, made of its metrics events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pando_shared.records import Event

#: Which step a row is of, and out of how many: not measures.
_NOT_MEASURED = frozenset({"step", "total_steps"})


@dataclass(slots=True)
class MetricRow:
    """All that was told of one step, in training and validation; `told_at` is when, last."""

    step: int
    told_at: float = 0.0
    data: dict[str, float | int | str | None] = field(default_factory=dict)

    def numbers(self) -> dict[str, float]:
        """The measures that are numbers, by name."""
        return {
            name: float(value)
            for name, value in self.data.items()
            if name not in _NOT_MEASURED and isinstance(value, int | float)
        }


def metric_rows(events: Iterable[Event], last_step: int | None = None) -> list[MetricRow]:
    """Metrics events of one step, training and validation, become one row; in the steps' order.

    A step that was done again counts as it was the last time. One beyond `last_step` was lost with
    its worker, and is not part of the model: done again, the job may have stopped earlier.
    """
    rows: dict[int, MetricRow] = {}
    for event in events:
        step = event.data.get("step")
        if event.type != "metrics" or not isinstance(step, int):
            continue
        if last_step is None or step <= last_step:
            row = rows.setdefault(step, MetricRow(step))
            row.told_at = event.created_at
            row.data.update(event.data)
    return [rows[step] for step in sorted(rows)]


class EventReader(Protocol):
    """Where events are read: the store while a job lives, `History` also after that."""

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]: ...


def all_events(told: EventReader, job_id: str) -> Iterator[Event]:
    """A job's whole history, oldest first."""
    start = 0
    while page := told.events(job_id, start=start):
        yield from page
        start = page[-1].seq + 1
