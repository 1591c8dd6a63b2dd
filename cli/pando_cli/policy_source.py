"""Which policy file a stack goes by, and what stands in it."""

from __future__ import annotations

import os
from pathlib import Path

from pando_cli import stack_record
from pando_cli.errors import UsageError
from pando_cli.home import Home
from pando_shared.errors import InvalidPolicy
from pando_shared.policy import Policy
from pando_shared.policy_file import read_policy

VARIABLE = "PANDO_POLICY_FILE"


def policy_of(home: Home, given: Path | None) -> Path | None:
    """The file a stack that starts now goes by: `given`, else the home's; None: the defaults."""
    if given is not None:
        return given.expanduser().absolute()
    return home.policy if home.policy.exists() else None


def policy_in_force(home: Home) -> Path | None:
    """$PANDO_POLICY_FILE, else that of the home's running stack, else the home's own."""
    given = os.environ.get(VARIABLE)
    if not given:
        record = stack_record.running(home)
        if record is None:
            return policy_of(home, None)
        given = record.environment.get(VARIABLE)
    return Path(given) if given else None


def load_policy(path: Path) -> Policy:
    """The policy in a file that somebody named.

    Raises:
        UsageError: has everything that is wrong with the file.
    """
    try:
        return read_policy(path)
    except InvalidPolicy as error:
        raise UsageError(
            error.message,
            code=error.code,
            hint="docs/sharing.md explains every key; `pando policy check FILE` reads it again. "
            "Services that run already keep the last good policy.",
        ) from error
