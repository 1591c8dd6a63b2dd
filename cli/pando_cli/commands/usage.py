"""`pando usage`: what your tenant uses, and how much it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from pando_cli.connection import Connection
from pando_cli.rendering import (
    JsonObject,
    fields_table,
    human_bytes,
    human_seconds,
    list_table,
)


def usage(
    connection: Connection,
    all_tenants: Annotated[
        bool, typer.Option("--all", help="Of every tenant; needs a key of scope admin.")
    ] = False,
) -> None:
    """Show storage, jobs, requests and workers that your tenant uses, and its limits.

    Examples:

        pando usage
        pando usage --all --json | jq '.data[] | {tenant, used: .storage.used}'
    """
    session = connection.open()
    if all_tenants:
        found = session.api.usage_of_all()
        session.output.result(found, _table(found["data"]))
    else:
        own = session.api.usage()
        session.output.result(own, _fields(own))


def _fields(usage: JsonObject) -> Table:
    storage, jobs = usage["storage"], usage["jobs"]
    kinds = ", ".join(f"{kind} {human_bytes(storage[kind])}" for kind in _KINDS)
    states = ", ".join(f"{jobs[state]} {state}" for state in _STATES if jobs[state])
    return fields_table(
        [
            ("tenant", usage["tenant"]),
            ("storage", f"{_storage(usage)}: {kinds}"),
            ("jobs", _jobs(usage) + (f": {states}" if states else "")),
            ("requests left", _requests(usage)),
            ("worker time", _worked(usage)),
        ]
    )


def _table(usages: Sequence[JsonObject]) -> Table:
    table = list_table("tenant", "storage", "jobs", "requests left", numbers=("worker time",))
    for each in usages:
        table.add_row(each["tenant"], _storage(each), _jobs(each), _requests(each), _worked(each))
    return table


_KINDS = ("files", "uploads", "adapters")
_STATES = ("running", "queued", "paused", "validating_files")


def _storage(usage: JsonObject) -> str:
    storage = usage["storage"]
    limit = storage["limit"]
    return f"{human_bytes(storage['used'])}{'' if limit is None else f' of {human_bytes(limit)}'}"


def _jobs(usage: JsonObject) -> str:
    jobs = usage["jobs"]
    limit = "" if jobs["limit"] is None else f" of {jobs['limit']}"
    return f"{sum(jobs[state] for state in _STATES)}{limit}"


def _requests(usage: JsonObject) -> str:
    requests = usage["requests"]
    if requests["limit_per_minute"] is None:
        return "unlimited"
    return f"{requests['remaining']} of {requests['limit_per_minute']} a minute"


def _worked(usage: JsonObject) -> str:
    return human_seconds(usage["workers"]["recent_seconds"])
