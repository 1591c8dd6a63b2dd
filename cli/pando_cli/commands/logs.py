"""`pando logs`: what happened to a job, and what happens to it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from pando_cli.api import JsonObject
from pando_cli.connection import Connection, Session
from pando_cli.errors import CliError
from pando_cli.event_stream import follow
from pando_cli.rendering import clock_time
from pando_shared.log_text import on_one_line

_STYLES = {"info": "", "warn": "yellow", "error": "bold red"}


def logs(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, ftjob-...")],
    connection: Connection,
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Without -f: the newest so many.")] = 100,
) -> None:
    """Print a job's events, oldest first.

    With --follow new ones are printed as they happen, across restarts of the service, until the
    job has ended; it fails (1) if the job did. With --json: one event a line.

    Examples:

        pando logs ftjob-3f9c
        pando logs -f ftjob-3f9c --json | jq -c 'select(.type == "metrics").data'
    """
    session = connection.open()
    if not follow_on:
        for event in reversed(session.api.events(job_id, limit)):
            _print(session, event)
        return
    for event in follow(session.api, job_id):
        _print(session, event)
    job = session.api.job(job_id)
    if job["status"] != "succeeded":
        raise CliError(f"job {job_id} {job['status']}", code="job_failed")


def _print(session: Session, event: JsonObject) -> None:
    line = Text(clock_time(event["created_at"]), style="dim")
    line.append("  ").append(on_one_line(event["message"]), style=_STYLES.get(event["level"], ""))
    session.output.result(event, line)
