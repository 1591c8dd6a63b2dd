"""Numbers, states and jobs as people like to read them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from pando_shared.human_size import human_size
from pando_shared.log_text import on_one_line

JsonObject = dict[str, Any]

STYLES = {
    "validating_files": "cyan",
    "queued": "yellow",
    "running": "bold blue",
    "paused": "magenta",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "dim",
}


def human_bytes(count: float | None) -> str:
    """1536 -> "1.5 KiB"; nothing known -> "-"."""
    return "-" if count is None else human_size(count)


def human_seconds(seconds: float | None) -> str:
    """95 -> "1m35s"."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def clock_time(timestamp: float | None) -> str:
    if timestamp is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp))


def human_distance(timestamp: float | None) -> str:
    """How far ahead: "14m20s"; "now" if it is past."""
    if timestamp is None:
        return "-"
    seconds = round(timestamp - time.time())
    return human_seconds(seconds) if seconds > 0 else "now"


def expected_time(timestamp: float | None) -> str | None:
    """ "2026-01-31 14:05:00 (in 14m20s)"; None: not known."""
    if timestamp is None:
        return None
    ahead = human_distance(timestamp)
    return "any moment" if ahead == "now" else f"{clock_time(timestamp)} (in {ahead})"


def age(timestamp: float) -> str:
    """How long ago, in one unit: 40s, 5m, 3h, 12d."""
    seconds = max(0, round(time.time() - timestamp))
    for unit, length in (("s", 60), ("m", 60), ("h", 24)):
        if seconds < length:
            return f"{seconds}{unit}"
        seconds //= length
    return f"{seconds}d"


class ListTable(Table):
    """A text in it is one line, whoever wrote it: a name with line breaks makes no second row."""

    def add_row(
        self,
        *cells: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        shown = (Text(on_one_line(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, style=style, end_section=end_section)


def list_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A table of objects, a line each: ids first and never broken, then text, then numbers."""
    table = ListTable(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for index, column in enumerate(columns):
        # Where the terminal is narrow, no column folds into a line of single letters.
        table.add_column(column, overflow="fold", no_wrap=index == 0, min_width=4)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def state(status: str) -> Text:
    return Text(status, style=STYLES.get(status, ""))


def method(job: JsonObject) -> str:
    """The adapter's type: lora, paca or meft."""
    adapter = job.get("adapter")
    return str(adapter["type"]) if isinstance(adapter, dict) and "type" in adapter else "-"


def progress(job: JsonObject) -> JsonObject:
    """The job's progress object, empty before training has begun."""
    value = job.get("progress")
    return value if isinstance(value, dict) else {}


def label(job: JsonObject) -> str:
    """What people call the job: its suffix, else its id."""
    return on_one_line(str(job.get("suffix") or job["id"]))


def jobs_table(jobs: Sequence[JsonObject]) -> Table:
    table = list_table("job", "name", numbers=("method", "model", "status", "step", "loss", "age"))
    for job in jobs:
        at = progress(job)
        table.add_row(
            job["id"],
            job.get("suffix") or "",
            method(job),
            job["model"],
            state(job["status"]),
            f"{at.get('step', 0)}/{at.get('total_steps') or '?'}" if at else "-",
            number(at.get("train_loss")),
            age(job["created_at"]),
        )
    return table


def fields_table(rows: Sequence[tuple[str, Any]]) -> Table:
    """Name and value, a line each; values that are None are left out."""
    table = ListTable(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(name, value if isinstance(value, Text) else str(value))
    return table
