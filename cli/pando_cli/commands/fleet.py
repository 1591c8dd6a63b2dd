"""`pando workers` and `pando queue`: who trains, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pando_cli.connection import Connection
from pando_cli.rendering import (
    JsonObject,
    human_bytes,
    human_distance,
    human_seconds,
    list_table,
)


def workers(connection: Connection) -> None:
    """List the workers: device, base model, memory, speed, and how well these are predicted.

    Example:

        pando workers --json | jq '.data | length'
    """
    session = connection.open()
    found = session.api.workers()
    numbers = ("jobs", "peak", "budget", "host budget", "tokens/s")
    table = list_table("worker", "device", "base", "alive", numbers=numbers)
    for worker in found["data"]:
        table.add_row(
            worker["id"],
            worker["device"],
            worker["base_model"] or "",
            _standing(worker),
            str(worker["jobs"]),
            human_bytes(worker["peak_bytes"]),
            human_bytes(worker["budget_bytes"]),
            human_bytes(worker.get("host_budget_bytes")),
            f"{worker['tokens_per_second']:.0f}",
        )
    session.output.result(found, Group(table, *_predictions(found["data"])))


def _standing(worker: JsonObject) -> str:
    if not worker["alive"]:
        return "no"
    return "draining" if worker.get("draining") else "yes"


def _predictions(workers: Sequence[JsonObject]) -> list[RenderableType]:
    """How good the scheduler's predictions are: a table of its own, as one line has no room for
    both. None: nothing has trained yet."""
    known = [worker for worker in workers if worker.get("prediction")]
    if not known:
        return []
    numbers = ("mem error", "99 %", "head-room", "speed error", "rounds")
    table = list_table("worker", "device kind", numbers=numbers)
    for worker in known:
        found = worker["prediction"]
        table.add_row(
            worker["id"],
            worker["device_kind"],
            _percent(found["memory_error_p50"]),
            _percent(found["memory_error_p99"]),
            _percent(found["headroom"]),
            _percent(found["speed_error_p50"]),
            str(found["rounds"]),
        )
    return ["", table]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def queue(connection: Connection) -> None:
    """List your waiting jobs in the order in which they will be placed, and what they wait for.

    A job has a # once the scheduler has looked at it, unless something holds it back.

    Example:

        pando queue --json | jq '.data[] | {id, blocked_reason}'
    """
    session = connection.open()
    found = session.api.queue()
    text: RenderableType = (
        queue_lines(found["data"]) if found["data"] else "None of your jobs wait."
    )
    session.output.result(found, text)


def queue_lines(entries: Sequence[JsonObject]) -> RenderableType:
    """A line for each job, and below it, over the whole width, why it waits."""
    head = ("#", "job", "method", "priority", "waits", "starts in")
    rows = [
        (
            str(entry["position"] or "-"),
            entry["id"],
            entry["method"],
            entry["priority"],
            human_seconds(entry["waiting_seconds"]),
            human_distance(entry.get("estimated_start")),
        )
        for entry in entries
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    indent = widths[0] + 2
    lines: list[RenderableType] = [Text(_aligned(head, widths), style="bold", no_wrap=True)]
    for entry, row in zip(entries, rows, strict=True):
        lines.append(Text(_aligned(row, widths), no_wrap=True))
        if entry["blocked_reason"]:
            reason = Text(entry["blocked_reason"], style="dim")
            lines.append(Padding(reason, (0, 0, 0, indent)))
    return Group(*lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers and times to the right."""
    texts = [
        cell.ljust(width) if column in (1, 2, 3) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(texts)
