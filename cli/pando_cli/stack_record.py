"""What a running stack tells other commands about itself: `stack.json` in its home."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

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


def running(home: Home) -> StackRecord | None:
    """The stack that runs in this home, or None. A record left by a dead one does not count."""
    if not locked(home):
        return None
    try:
        return StackRecord(**json.loads(home.stack_record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


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
