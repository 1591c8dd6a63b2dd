"""`pando list`, `show`, `cancel`, `pause`, `resume`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from pando_cli.api import JsonObject
from pando_cli.connection import Connection
from pando_cli.rendering import (
    clock_time,
    expected_time,
    fields_table,
    human_bytes,
    jobs_table,
    method,
    number,
    progress,
    state,
)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, ftjob-...")]
LimitOption = Annotated[int, typer.Option(min=1, help="Show at most this many.")]


def list_jobs(connection: Connection, limit: LimitOption = 20) -> None:
    """List your jobs, newest first.

    With --json: {"object": "list", "data": [job, ...]}.

    Example:

        pando list --json | jq -r '.data[] | select(.status == "running") | .id'
    """
    session = connection.open()
    jobs = session.api.jobs(limit)
    text = (
        jobs_table(jobs) if jobs else "No jobs yet. `pando submit --help` shows how to start one."
    )
    session.output.result({"object": "list", "data": jobs}, text)


def show(job_id: JobArgument, connection: Connection) -> None:
    """Show one job: what it trains, how far it is, why it waits and until when, why it failed.

    Example:

        pando show ftjob-3f9c --json | jq .status
    """
    session = connection.open()
    job = session.api.job(job_id)
    session.output.result(job, job_card(job))


def cancel(job_id: JobArgument, connection: Connection) -> None:
    """Cancel a job for good: nothing resumes it. Adapters of its checkpoints stay, as models.

    Example:

        pando cancel ftjob-3f9c
    """
    _act(job_id, "cancel", connection)


def pause(job_id: JobArgument, connection: Connection) -> None:
    """Pause a job: it checkpoints, gives its place up, and waits for `pando resume`.

    Example:

        pando pause ftjob-3f9c
    """
    _act(job_id, "pause", connection)


def resume(job_id: JobArgument, connection: Connection) -> None:
    """Queue a paused job again; it goes on exactly where it stopped.

    Example:

        pando resume ftjob-3f9c
    """
    _act(job_id, "resume", connection)


def _act(job_id: str, verb: str, connection: Connection) -> None:
    session = connection.open()
    job = session.api.act(job_id, verb)
    session.output.result(job, f"{job['id']} {job['status']}")


def job_card(job: JsonObject) -> Table:
    at = progress(job)
    steps = f"{at.get('step', 0)} of {at.get('total_steps') or '?'}" if at else None
    losses = (at.get("first_loss"), at.get("train_loss"))
    error = job.get("error") or {}
    rate = at.get("tokens_per_second")
    host = job.get("predicted_host_bytes")
    rows = [
        ("job", job["id"]),
        ("status", state(job["status"])),
        ("model", job["model"]),
        ("method", method(job)),
        ("name", job.get("suffix")),
        ("queue position", job.get("queue_position")),
        ("waits because", job.get("blocked_reason")),
        ("starts about", expected_time(job.get("estimated_start"))),
        ("ends about", expected_time(job.get("estimated_finish"))),
        ("yielding", job.get("yielding")),
        ("preemptions", job.get("preemptions") or None),
        ("workers lost", job.get("attempts") or None),
        ("error", error.get("message")),
        ("steps", steps),
        ("loss", f"{number(losses[0])} → {number(losses[1])}" if losses[1] else None),
        ("validation loss", number(at["valid_loss"]) if at.get("valid_loss") else None),
        ("tokens/s", f"{rate:.0f}" if rate else None),
        ("trained tokens", job.get("trained_tokens")),
        ("predicted peak", human_bytes(job.get("predicted_peak_bytes"))),
        ("predicted host memory", human_bytes(host) if host else None),
        ("adapter", job.get("fine_tuned_model")),
        ("created", clock_time(job["created_at"])),
        ("finished", clock_time(job["finished_at"]) if job.get("finished_at") else None),
    ]
    return fields_table(rows)
