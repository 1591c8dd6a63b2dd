"""`pando workers` and `pando queue`: who trains, and who waits."""

from __future__ import annotations

from rich.table import Table

from pando_cli.connection import Connection
from pando_cli.rendering import human_bytes, human_seconds


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
    for column in ("jobs", "peak", "budget", "tokens/s"):
        table.add_column(column, justify="right")
    for worker in found["data"]:
        table.add_row(
            worker["id"],
            worker["device"],
            worker["base_model"] or "",
            "yes" if worker["alive"] else "no",
            str(worker["jobs"]),
            human_bytes(worker["peak_bytes"]),
            human_bytes(worker["budget_bytes"]),
            f"{worker['tokens_per_second']:.0f}",
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
    for column in ("#", "job", "method", "priority", "waits", "because"):
        table.add_column(column, overflow="fold")
    for entry in found["data"]:
        table.add_row(
            str(entry["position"]),
            entry["id"],
            entry["method"],
            entry["priority"],
            human_seconds(entry["waiting_seconds"]),
            entry["blocked_reason"] or "",
        )
    session.output.result(found, table)
