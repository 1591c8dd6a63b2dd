"""`pando watch`: jobs as they train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.live import Live

from pando_cli.api import JsonObject
from pando_cli.connection import Connection, Session
from pando_cli.ended import ended
from pando_cli.errors import CliError
from pando_cli.job_bars import JobBars
from pando_cli.rendering import label
from pando_cli.snapshots import job_snapshots


def watch(
    connection: Connection,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Default: all live jobs.")
    ] = None,
) -> None:
    """Watch jobs train: a progress bar and the loss of each, until all have ended.

    Fails (1) if one of them failed or was cancelled. With --json: one line
    {"jobs": [job, ...]} whenever something changed.

    Examples:

        pando watch
        pando watch ftjob-3f9c ftjob-77aa
    """
    session = connection.open()
    chosen = jobs or [job["id"] for job in session.api.jobs(100) if not ended(job)]
    if not chosen:
        session.output.result({"jobs": []}, "No live jobs. `pando list` shows those that ended.")
        return
    last: list[JsonObject] = []
    if session.output.as_json:
        for last in job_snapshots(session.api, chosen):
            session.output.document({"jobs": last})
    else:
        last = wait_for(session, chosen)
    lost = [job for job in last if job["status"] != "succeeded"]
    if lost:
        names = ", ".join(f"{job['id']} {job['status']}" for job in lost)
        raise CliError(names, code="job_failed", hint="`pando logs JOB` says why.")


def wait_for(session: Session, job_ids: Sequence[str]) -> list[JsonObject]:
    """The jobs when all have ended; people see them train meanwhile."""
    output = session.output
    if output.as_json:
        *_, last = job_snapshots(session.api, job_ids)
        return last
    if not output.notes.is_terminal:
        return _tell(session, job_ids)
    bars = JobBars()
    with Live(bars, console=output.notes, refresh_per_second=4):
        for jobs in job_snapshots(session.api, job_ids):
            bars.update(jobs)
    return jobs


def _tell(session: Session, job_ids: Sequence[str]) -> list[JsonObject]:
    """For a log: a line whenever a job's status has changed."""
    told: dict[str, str] = {}
    for jobs in job_snapshots(session.api, job_ids):
        for job in jobs:
            if told.get(job["id"]) != job["status"]:
                session.output.note(f"{label(job)} {job['status']}")
                told[job["id"]] = job["status"]
    return jobs
