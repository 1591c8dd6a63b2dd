"""A live display of several jobs: a bar, the loss and the speed of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table

from pando_cli.api import JsonObject
from pando_cli.rendering import label, method, number, progress, state


class JobBars:
    """Give it to `rich.live.Live` and call `update` whenever the jobs have been fetched."""

    def __init__(self) -> None:
        self._jobs: Sequence[JsonObject] = ()

    def update(self, jobs: Sequence[JsonObject]) -> None:
        self._jobs = jobs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(min_width=8, ratio=1)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        for job in self._jobs:
            table.add_row(*self._cells(job))
        return table

    @staticmethod
    def _cells(job: JsonObject) -> Iterator[RenderableType]:
        at = progress(job)
        step, total = at.get("step") or 0, at.get("total_steps") or 0
        first, loss = at.get("first_loss"), at.get("train_loss")
        rate = at.get("tokens_per_second")
        yield label(job)
        yield method(job)
        yield state(job["status"])
        yield ProgressBar(total=max(total, 1), completed=step, width=None)
        yield f"{step}/{total}" if total else ""
        yield f"{number(first)} → {number(loss)}" if loss is not None else ""
        yield f"{rate:.0f} tok/s" if rate else ""
