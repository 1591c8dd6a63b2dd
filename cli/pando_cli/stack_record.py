"""What a running stack tells other commands about itself: `stack.json` in its home."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.private_file import write_private


@dataclass(frozen=True, slots=True)
class StackRecord:
    """`pid` is the supervisor's; `environment` holds the PANDO_* variables of its services."""

    pid: int
    url: str
    environment: Mapping[str, str]


def save(home: Home, record: StackRecord) -> None:
    write_private(home.stack_record, json.dumps(asdict(record), indent=2) + "\n")


def drop(home: Home) -> None:
    """Remove what a dead stack has left; for whoever has locked the home."""
    home.stack_record.unlink(missing_ok=True)


def running(home: Home) -> StackRecord | None:
    """The stack that runs in this home, or None. A record left by a dead one does not count.

    Raises:
        StackError: the record is there but is not what `pando up` writes.
    """
    if not locked(home):
        return None
    try:
        return StackRecord(**json.loads(home.stack_record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{home.stack_record} is not what `pando up` writes: {error}",
            hint="Stop the `pando up` of this home with Ctrl-C or `kill`, and start it again.",
        ) from error


def locked(home: Home) -> bool:
    """Whether any process of a stack may still be alive in this home."""
    try:
        with home.lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
