"""What the demo found out, as values, as JSON and as tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pando_cli.api import JsonObject
from pando_cli.rendering import human_bytes, human_seconds, method, number, progress, state

BASE = "base"


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One job when it had ended. Losses are those of its first and its last step."""

    job: str
    name: str
    method: str
    status: str
    loss_before: float | None
    loss_after: float | None
    tokens_per_second: float | None
    predicted_peak_bytes: int | None
    measured_peak_bytes: int | None
    model: str | None
    adapter_path: str | None
    error: str | None

    @classmethod
    def of(cls, name: str, job: JsonObject, adapter_path: str | None) -> DemoRow:
        at = progress(job)
        return cls(
            job=job["id"],
            name=name,
            method=method(job),
            status=job["status"],
            loss_before=at.get("first_loss"),
            loss_after=at.get("train_loss"),
            tokens_per_second=at.get("tokens_per_second"),
            predicted_peak_bytes=job.get("round_predicted_bytes"),
            measured_peak_bytes=job.get("round_measured_bytes"),
            model=job.get("fine_tuned_model"),
            adapter_path=adapter_path,
            error=(job.get("error") or {}).get("message"),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """`name` is "base" or a job's name."""

    prompt: str
    name: str
    model: str
    text: str


@dataclass(frozen=True, slots=True)
class DemoResult:
    home: str
    base_model: str
    seconds: float
    jobs: tuple[DemoRow, ...]
    answers: tuple[Answer, ...]

    @property
    def failed(self) -> tuple[DemoRow, ...]:
        return tuple(row for row in self.jobs if row.status != "succeeded")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> RenderableType:
        where = Text(f"\nAdapters lie in {self.home}", overflow="fold")
        took = Text(f"Trained, fetched and asked in {human_seconds(self.seconds)}.")
        return Group(self._jobs_table(), where, took, *self._answer_tables())

    def _jobs_table(self) -> Table:
        table = Table(
            title=f"Trained together on one frozen base, {self.base_model}",
            title_justify="left",
            title_style="bold",
            box=None,
            padding=(0, 2, 0, 0),
            pad_edge=False,
        )
        for column in ("job", "method"):
            table.add_column(column, no_wrap=True)
        for column in ("loss\nbefore → after", "tokens/s", "predicted\npeak", "measured\npeak"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("adapter", no_wrap=True)
        for row in self.jobs:
            table.add_row(
                row.name,
                row.method,
                f"{number(row.loss_before)} → {number(row.loss_after)}",
                number(row.tokens_per_second, 0),
                human_bytes(row.predicted_peak_bytes),
                human_bytes(row.measured_peak_bytes),
                self._below_home(row.adapter_path) or state(row.status),
            )
        return table

    def _below_home(self, path: str | None) -> str | None:
        return None if path is None else os.path.relpath(path, self.home)

    def _answer_tables(self) -> Sequence[Table]:
        tables = []
        for prompt in dict.fromkeys(answer.prompt for answer in self.answers):
            table = Table(
                title=f"\n“{prompt}”",
                title_justify="left",
                title_style="bold",
                box=None,
                show_header=False,
                pad_edge=False,
            )
            table.add_column(no_wrap=True, style="cyan")
            table.add_column(overflow="fold")
            for answer in self.answers:
                if answer.prompt == prompt:
                    table.add_row(answer.name, Text(answer.text.strip()))
            tables.append(table)
        return tables
