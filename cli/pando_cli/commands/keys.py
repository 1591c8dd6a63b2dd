"""`pando keys`: API keys, made and revoked where the store and the storage can be reached."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.errors import UsageError
from pando_cli.home import Home
from pando_cli.key_store import create_key, keep_key
from pando_cli.operator_access import connect
from pando_cli.output import Output
from pando_cli.rendering import age, list_table
from pando_shared.clock import SystemClock
from pando_shared.records import ApiKey


def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs, files and adapters it sees.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key. It is shown once; only its SHA-256 is kept.

    With --json: {"id", "tenant", "name", "hint", "created_at", "revoked_at", "key"}.

    Example:

        KEY=$(pando keys create --tenant acme --name laptop --json | jq -r .key)
    """
    backend = connect(Home.locate(home))
    secret, record = create_key(backend.store, backend.storage, tenant, name, SystemClock().now())
    output = Output(as_json)
    output.note(f"{record.id} for tenant {tenant}. Keep the key: it is not shown again.")
    output.result({**_public(record), "key": secret}, secret)


def list_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all API keys, by id and first characters.

    Example:

        pando keys list
    """
    keys = connect(Home.locate(home)).store.list_keys()
    table = list_table("key", "tenant", "name", "begins with", numbers=("age", "revoked"))
    for key in keys:
        table.add_row(
            key.id,
            key.tenant,
            key.name,
            f"{key.hint}…",
            age(key.created_at),
            age(key.revoked_at) if key.revoked_at else "",
        )
    Output(as_json).result({"object": "list", "data": [_public(key) for key in keys]}, table)


def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY", help="Its id, as `pando keys list` has it")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key useless, at once.

    Example:

        pando keys revoke key-3f9c
    """
    backend = connect(Home.locate(home))
    key = next((key for key in backend.store.list_keys() if key.id == key_id), None)
    if key is None:
        raise UsageError(f"there is no key {key_id}", hint="`pando keys list` shows all.")
    revoked = replace(key, revoked_at=key.revoked_at or SystemClock().now())
    keep_key(backend.store, backend.storage, revoked)
    Output(as_json).result(_public(revoked), f"{key_id} revoked")


def _public(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "hint": key.hint,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
