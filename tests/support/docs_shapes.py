"""Whether what a command prints has the shape that its page shows: keys and kinds of JSON; of text,
its first column."""

from __future__ import annotations

import json
import re
from typing import Any

from docs_commands import Command
from local_stack import Done


def check_shape(command: Command, done: Done) -> None:
    """Fails where the page shows what is not printed."""
    assert command.shown is not None
    if command.shown.startswith(("{", "[")):
        told, printed = shape(json.loads(command.shown)), shape(json.loads(done.out))
        assert agree(told, printed), f"{command.place}: {told} on the page, {printed} printed"
        return
    text = "\n".join(words(line) for line in done.out.splitlines())
    for line in command.shown.splitlines():
        if line.strip() and not line.startswith((" ", "…", "...")):
            assert words(first_cell(line)) in text, f"{command.place}: no {line!r} in {text}"


def first_cell(line: str) -> str:
    """Of a line of a table, or what comes before the numbers of a sum."""
    return re.split(r"  +|: ", line)[0]


def words(text: str) -> str:
    return re.sub(r"\d+", "0", " ".join(text.split()))


def shape(value: Any) -> Any:
    """Keys and kinds of a document; a list has that of its first entry."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    if isinstance(value, bool) or value is None:
        return value if value is None else "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def agree(told: Any, printed: Any) -> bool:
    """Null, and a list with nothing in it, may be anything."""
    if told in (None, []) or printed in (None, []):
        return True
    if isinstance(told, dict) and isinstance(printed, dict):
        return told.keys() == printed.keys() and all(agree(told[k], printed[k]) for k in told)
    if isinstance(told, list) and isinstance(printed, list):
        return agree(told[0], printed[0])
    return bool(told == printed)
