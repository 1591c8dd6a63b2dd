"""`pando workers` and `pando queue`: who trains, and who waits."""

from __future__ import annotations

from rich.table import Table

from pando_cli.connection import Connection
from pando_cli.rendering import clock_time, human_bytes


def workers(connection: Connection) -> None:
    """List the workers: device, base model, memory, speed.

    Example:

        pando workers --json | jq '.data | length'
    """
    session = connection.open()
    found = session.api.workers()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("worker", "device", "base", "alive"):
        table.add_column(column)
    for column in ("peak", "budget", "tokens/s"):
        table.add_column(column, justify="right")
    for worker in found["data"]:
        table.add_row(
            worker["id"],
            worker.get("device") or "",
            worker.get("base_model") or "",
            "yes" if worker.get("alive") else "no",
            human_bytes(worker.get("peak_bytes")),
            human_bytes(worker.get("budget_bytes")),
            f"{worker.get('tokens_per_second') or 0:.0f}",
        )
    session.output.result(found, table)


def queue(connection: Connection) -> None:
    """List your waiting jobs in the order in which they will be placed, and what they wait for.

    Example:

        pando queue
    """
    session = connection.open()
    found = session.api.queue()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("#", "job", "priority", "since", "waits because"):
        table.add_column(column, overflow="fold")
    for entry in found["data"]:
        table.add_row(
            str(entry.get("queue_position") or ""),
            str(entry.get("id") or entry.get("job_id") or ""),
            str(entry.get("priority") or ""),
            clock_time(entry.get("queued_at")),
            str(entry.get("blocked_reason") or ""),
        )
    session.output.result(found, table)
