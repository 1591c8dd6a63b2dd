"""`pando policy`: the rules by which jobs share the workers, checked and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.home import Home
from pando_cli.output import Output
from pando_cli.policy_source import load_policy, policy_in_force
from pando_cli.rendering import fields_table, human_bytes, list_table
from pando_shared.policy import Policy
from pando_shared.policy_file import as_document
from pando_shared.policy_keys import DURATION, SCHEDULING, TENANT

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60))


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy file, TOML.")],
    as_json: JsonOption = False,
) -> None:
    """Read a policy file and show what it comes to, with all that it leaves to the defaults.

    With --json: {"path", "policy"}; the policy has the file's own tables and keys, durations in
    seconds, null for "never" and "unlimited". A wrong file is exit code 2, and every problem of it
    is told at once.

    Example:

        pando policy check policy.toml
    """
    _tell(file, load_policy(file), Output(as_json))


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the policy of the stack in this home, or of $PANDO_POLICY_FILE.

    With --json: as `pando policy check`; "path" is null where no file is, and all is default.

    Example:

        pando policy show --json | jq .policy.tenants
    """
    file = policy_in_force(Home.locate(home))
    _tell(file, Policy() if file is None else load_policy(file), Output(as_json))


def _tell(file: Path | None, policy: Policy, output: Output) -> None:
    output.note("No policy file: the defaults." if file is None else f"{file} is right.")
    document = as_document(policy)
    path = None if file is None else str(file)
    output.result({"path": path, "policy": document}, _tables(document))


def _tables(document: dict[str, Any]) -> RenderableType:
    rules = fields_table(
        [
            (key.name, duration(value) if key.kind is DURATION else f"{value:g}")
            for key in SCHEDULING
            for value in (document["scheduling"][key.name],)
        ]
    )
    classes = list_table("class", numbers=("preempt_after", "max_slowdown"))
    for name, of in document["classes"].items():
        classes.add_row(name, duration(of["preempt_after"]), f"{of['max_slowdown']:g}")
    tenants = list_table("tenant", numbers=[key.name for key in TENANT])
    for name, of in [*document["tenants"].items(), ("(all others)", document["default_tenant"])]:
        tenants.add_row(
            name,
            f"{of['weight']:g}",
            f"{of['guaranteed']:g}",
            "unlimited" if of["limit"] is None else f"{of['limit']:g}",
            "unlimited" if of["max_jobs"] is None else str(of["max_jobs"]),
            "unlimited" if of["requests_per_minute"] is None else str(of["requests_per_minute"]),
            "unlimited" if of["max_storage"] is None else human_bytes(of["max_storage"]),
        )
    return Group(tenants, "", classes, "", rules)


def duration(seconds: float | None) -> str:
    """As a policy file may have it: 5400 -> "1h30m"; None -> "never"."""
    if seconds is None:
        return "never"
    text = ""
    for unit, length in _UNITS:
        count, seconds = divmod(seconds, length)
        text += f"{count:.0f}{unit}" if count else ""
    return text + (f"{seconds:g}s" if seconds or not text else "")
