"""`pando webhooks`: who is told when a job ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pando_cli.connection import Connection
from pando_cli.rendering import age, fields_table, list_table

_OF_JOBS = "fine_tuning.job."
_ALL = ("succeeded", "failed", "cancelled")

IdArgument = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="Its id, as `pando webhooks list` has it.")
]


def create(
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Your server's, with https.")],
    connection: Connection,
    name: Annotated[str, typer.Option(help="What it is for.")] = "pando",
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="END",
            help="succeeded, failed or cancelled; repeatable.  Default: all three.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Have your server told when a job of yours ends. The signing secret is shown once.

    With --json: the endpoint, with its "signing_secret".

    Example:

        pando webhooks create https://example.com/pando --event failed
    """
    session = connection.open()
    types = [f"{_OF_JOBS}{end.removeprefix(_OF_JOBS)}" for end in event or _ALL]
    body = {"name": name, "url": receiver, "event_types": types}
    _show_secret(session.output.result, session.api.create_webhook(body))


def list_webhooks(connection: Connection) -> None:
    """List your webhooks, and how they are doing.

    Example:

        pando webhooks list
    """
    session = connection.open()
    found = session.api.webhooks()
    table = list_table("webhook", "name", "url", "events", "status", numbers=("age",))
    for each in found:
        ends = ", ".join(kind.removeprefix(_OF_JOBS) for kind in each["event_types"])
        status = each["status"]
        if each["last_error"]:
            status += f": {each['last_error']}"
        row = (each["id"], each["name"], each["url"], ends, status, age(each["created_at"]))
        table.add_row(*row)
    session.output.result({"object": "list", "data": found}, table)


def delete(webhook: IdArgument, connection: Connection) -> None:
    """Delete a webhook; what is on its way to it is sent no more.

    Example:

        pando webhooks delete whep_3f9c
    """
    session = connection.open()
    session.output.result(session.api.delete_webhook(webhook), f"{webhook} deleted")


def rotate(
    webhook: IdArgument,
    connection: Connection,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="The old secret signs too, for 24 hours.")
    ] = False,
) -> None:
    """Give a webhook another signing secret.

    Example:

        pando webhooks rotate whep_3f9c --keep-old
    """
    session = connection.open()
    body = {"keep_old_secret_active_for_24_hours": keep_old}
    _show_secret(session.output.result, session.api.rotate_webhook(webhook, body))


def send_sample(
    webhook: IdArgument,
    connection: Connection,
    event: Annotated[str, typer.Option(metavar="END", help="What it tells of.")] = "succeeded",
) -> None:
    """Send a sample event now, and show what your server answers.

    Example:

        pando webhooks test whep_3f9c
    """
    session = connection.open()
    kind = f"{_OF_JOBS}{event.removeprefix(_OF_JOBS)}"
    answer = session.api.test_webhook(webhook, {"event_type": kind})
    session.output.result(answer, f"{webhook} answered {answer['status_code']}")


def _show_secret(show: Any, endpoint: dict[str, Any]) -> None:
    facts = [
        ("webhook", endpoint["id"]),
        ("url", endpoint["url"]),
        ("secret", endpoint["signing_secret"]),
        ("", "Keep the secret: it is not shown again."),
    ]
    show(endpoint, fields_table(facts))
