"""The policy file, if there is one."""

from __future__ import annotations

from pathlib import Path

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_shared.errors import InvalidPolicy
from pando_shared.policy_file import read_policy

NAME = "policy"


def policy(in_force: Path | None, ignored: Path | None = None) -> Finding:
    """`ignored`: a file in the home that the running stack does not go by."""
    if in_force is None:
        if ignored is None:
            return skipped(NAME, "no policy file: all tenants weigh the same")
        return warn(
            NAME,
            f"{ignored} is not in force: the stack started before it was there",
            "`pando down` and `pando up`; jobs go on from their checkpoints.",
        )
    try:
        read_policy(in_force)
    except InvalidPolicy as error:
        return fail(
            NAME,
            error.message,
            f"Correct it until `pando policy check {in_force}` is content; docs/sharing.md "
            "explains every key. Services that run keep the last good policy.",
        )
    return ok(NAME, f"{in_force} is right")
