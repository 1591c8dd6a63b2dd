"""`pando keys`: API keys, made and revoked where the store and the storage can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.errors import UsageError
from pando_cli.home import Home
from pando_cli.operator_access import connect
from pando_cli.output import Output
from pando_cli.rendering import age, clock_time, list_table
from pando_shared.clock import SystemClock
from pando_shared.errors import InvalidRequest, NotFound
from pando_shared.key_keeping import create_key, revoke_key, rotate_key
from pando_shared.policy_keys import DURATION, Key
from pando_shared.records import ApiKey, KeyScope

_EXPIRES = Key("--expires", "expires_at", DURATION, above=True)
_GRACE = Key("--grace", "grace", DURATION)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Its id, as `pando keys list` has it")
]


def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs, files and adapters it sees.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[
        KeyScope,
        typer.Option(help="read-only only looks; admin also manages keys over HTTP."),
    ] = "user",
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="90d, say; never unless given.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key. It is shown once; only its SHA-256 is kept.

    With --json: {"id", "tenant", "name", "scope", "hint", "created_at", "expires_at",
    "revoked_at", "key"}.

    Example:

        KEY=$(pando keys create --tenant acme --name laptop --json | jq -r .key)
    """
    now = SystemClock().now()
    expires_at = None if expires is None else now + _seconds(_EXPIRES, expires)
    backend = connect(Home.locate(home))
    with _as_usage_errors():
        secret, record = create_key(
            backend.store,
            backend.storage,
            tenant,
            name,
            now,
            scope=scope,
            expires_at=expires_at,
        )
    _show_once(Output(as_json), secret, record)


def rotate(
    key_id: KeyArgument,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old one works on.")
    ] = "24h",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key in place of another, which expires after the grace.

    Example:

        pando keys rotate key-3f9c --grace 1h
    """
    grace_seconds = _seconds(_GRACE, grace)
    backend = connect(Home.locate(home))
    with _as_usage_errors():
        secret, record = rotate_key(
            backend.store, backend.storage, key_id, SystemClock().now(), grace_seconds
        )
    output = Output(as_json)
    output.note(f"{key_id} works for {grace} more at most.")
    _show_once(output, secret, record)


def list_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all API keys, by id and first characters.

    Example:

        pando keys list
    """
    keys = connect(Home.locate(home)).store.list_keys()
    now = SystemClock().now()
    numbers = ("age", "expires", "revoked")
    table = list_table("key", "tenant", "name", "scope", "begins with", numbers=numbers)
    for key in keys:
        table.add_row(
            key.id,
            key.tenant,
            key.name,
            key.scope,
            f"{key.hint}…",
            age(key.created_at),
            _expiry(key, now),
            age(key.revoked_at) if key.revoked_at else "",
        )
    Output(as_json).result({"object": "list", "data": [_public(key) for key in keys]}, table)


def revoke(key_id: KeyArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make an API key useless, at once.

    Example:

        pando keys revoke key-3f9c
    """
    backend = connect(Home.locate(home))
    with _as_usage_errors():
        revoked = revoke_key(backend.store, backend.storage, key_id, SystemClock().now())
    Output(as_json).result(_public(revoked), f"{key_id} revoked")


def _show_once(output: Output, secret: str, record: ApiKey) -> None:
    output.note(f"{record.id} for tenant {record.tenant}. Keep the key: it is not shown again.")
    output.result({**_public(record), "key": secret}, secret)


def _seconds(option: Key, given: str) -> float:
    try:
        seconds = option.value(given)
    except ValueError as error:
        raise UsageError(f"{option.name} {given!r}: must be {error}") from error
    assert seconds is not None
    return seconds


@contextmanager
def _as_usage_errors() -> Iterator[None]:
    """What the command line named wrongly is told as such."""
    try:
        yield
    except (InvalidRequest, NotFound) as error:
        hint = "`pando keys list` shows all." if isinstance(error, NotFound) else None
        raise UsageError(error.message, hint=hint, param=error.param) from error


def _expiry(key: ApiKey, now: float) -> str:
    if key.expires_at is None:
        return ""
    return clock_time(key.expires_at) if now < key.expires_at else "expired"


def _public(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scope": key.scope,
        "hint": key.hint,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
