"""`pando files`: the data files you have uploaded."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from pando_cli.connection import Connection
from pando_cli.rendering import clock_time, human_bytes


def files(
    connection: Connection,
    delete: Annotated[
        str | None, typer.Option(metavar="FILE_ID", help="Delete this file instead.")
    ] = None,
) -> None:
    """List uploaded and produced files, or delete one.

    Examples:

        pando files --json | jq -r '.data[].id'
        pando files --delete file-3f9c
    """
    session = connection.open()
    if delete:
        session.output.result(session.api.delete_file(delete), f"{delete} deleted")
        return
    found = session.api.files()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("file", "name", "purpose"):
        table.add_column(column, overflow="fold")
    for column in ("size", "created"):
        table.add_column(column, justify="right")
    for file in found:
        table.add_row(
            file["id"],
            file["filename"],
            file["purpose"],
            human_bytes(file["bytes"]),
            clock_time(file["created_at"]),
        )
    session.output.result({"object": "list", "data": found}, table)
