"""`pando files`: the data files you have uploaded."""

from __future__ import annotations

from typing import Annotated

import typer

from pando_cli.connection import Connection
from pando_cli.rendering import age, human_bytes, list_table


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
    table = list_table("file", "name", "purpose", numbers=("size", "age"))
    for file in found:
        table.add_row(
            file["id"],
            file["filename"],
            file["purpose"],
            human_bytes(file["bytes"]),
            age(file["created_at"]),
        )
    session.output.result({"object": "list", "data": found}, table)
