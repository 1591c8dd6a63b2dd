"""`pando workers` and `pando queue`: who trains, and who waits."""

from __future__ import annotations

from pando_cli.connection import Connection
from pando_cli.rendering import human_bytes, human_seconds, list_table


def workers(connection: Connection) -> None:
    """List the workers: device, base model, memory, speed.

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
            "yes" if worker["alive"] else "no",
            str(worker["jobs"]),
            human_bytes(worker["peak_bytes"]),
            human_bytes(worker["budget_bytes"]),
            human_bytes(worker.get("host_budget_bytes")),
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
    table = list_table("job", "waits because", numbers=("#", "method", "priority", "waits"))
    for entry in found["data"]:
        table.add_row(
            entry["id"],
            entry["blocked_reason"] or "",
            str(entry["position"]),
            entry["method"],
            entry["priority"],
            human_seconds(entry["waiting_seconds"]),
        )
    session.output.result(found, table)
