"""`pando submit` and `pando estimate`: the same options, with and without consequences."""

from __future__ import annotations

from typing import Annotated

import typer

from pando_cli.commands.watch import wait_for
from pando_cli.connection import Connection
from pando_cli.data_file import file_id
from pando_cli.errors import CliError
from pando_cli.job_options import JobOptions
from pando_cli.rendering import (
    JsonObject,
    clock_time,
    fields_table,
    human_bytes,
    human_seconds,
)

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="Training data: a .jsonl file, or a file id.")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Watch it until it has ended.")]


def submit(
    file: FileArgument, job: JobOptions, connection: Connection, wait: WaitOption = False
) -> None:
    """Start a fine-tuning job.

    Uploads FILE (chat, prompt/completion, Alpaca, ShareGPT or raw text, one JSON object a line)
    and creates the job. Prints the job; with --wait also follows it, and fails if it fails.

    Examples:

        pando submit pirate.jsonl --model tiny --adapter lora --rank 8 --suffix pirate
        pando submit train.jsonl --validation valid.jsonl --model llama --adapter paca --wait
        ID=$(pando submit train.jsonl --model tiny --json | jq -r .id)
    """
    session = connection.open()
    training = file_id(session.api, file)
    validation = file_id(session.api, job.validation) if job.validation else None
    created = session.api.create_job(job.body(training, validation))
    if not wait:
        session.output.result(
            created,
            f"{created['id']} {created['status']}\n"
            f"Follow it with: pando watch {created['id']}   or: pando logs -f {created['id']}",
        )
        return
    session.output.note(f"{created['id']} {created['status']}")
    ended = wait_for(session, [created["id"]])
    if any(job["status"] != "succeeded" for job in ended):
        raise job_failed(ended[0])
    session.output.result(ended[0], f"{ended[0]['fine_tuned_model']}")


def estimate(file: FileArgument, job: JobOptions, connection: Connection) -> None:
    """Say what a job would cost, and create nothing but the file.

    Prints tokens, steps, predicted peak memory (of a GPU, and of its host), duration and the
    earliest start.

    Example:

        pando estimate train.jsonl --model tiny --adapter meft --num-keys 4096
    """
    session = connection.open()
    training = file_id(session.api, file)
    validation = file_id(session.api, job.validation) if job.validation else None
    found = session.api.estimate(job.body(training, validation))
    session.output.result(
        found,
        fields_table(
            [
                ("examples", found["examples"]),
                ("tokens", f"{found['tokens']} ({found['token_count']})"),
                ("epochs", found["n_epochs"]),
                ("steps", found["steps"]),
                ("predicted peak", human_bytes(found["predicted_peak_bytes"])),
                ("largest worker", human_bytes(found["largest_worker_bytes"])),
                *_host_rows(found),
                ("duration", human_seconds(found["duration_seconds"])),
                ("earliest start", clock_time(found["earliest_start"])),
            ]
        ),
    )


def _host_rows(found: JsonObject) -> list[tuple[str, str]]:
    """What a GPU worker needs of its host; on a CPU there is nothing to tell."""
    needed = found.get("predicted_host_bytes")
    if not needed:
        return []
    return [
        ("predicted host memory", human_bytes(needed)),
        ("largest worker's host", human_bytes(found.get("largest_worker_host_bytes"))),
    ]


def job_failed(job: dict[str, object]) -> CliError:
    """The error that stands for a job that ended without an adapter."""
    error = job.get("error")
    reason = error if isinstance(error, dict) else {}
    return CliError(
        f"job {job['id']} {job['status']}"
        + (f": {reason['message']}" if reason.get("message") else ""),
        code=str(reason.get("code") or job["status"]),
        hint=f"See what happened with: pando logs {job['id']}",
    )
