"""`--grid KNOB=VALUE,VALUE`: what a sweep's trials differ in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pando_cli.errors import UsageError


def grid(options: Sequence[str]) -> dict[str, list[Any]]:
    """["learning_rate=1e-4,3e-4", "lr_scheduler=linear,cosine"] as the API takes it.

    Values are JSON, or words as they stand: whole adapters are written
    `adapter={"type":"lora"},{"type":"paca"}`.

    Raises:
        UsageError: no knob, no value, or a knob given twice.
    """
    found: dict[str, list[Any]] = {}
    for option in options:
        name, equals, text = option.partition("=")
        name = name.strip()
        if not (name and equals and text.strip()):
            raise UsageError(f"--grid wants KNOB=VALUE,VALUE; got {option!r}", param="grid")
        if name in found:
            raise UsageError(
                f"--grid gives {name} twice", param="grid", hint="Put all its values into one."
            )
        found[name] = _values(text, option)
    return found


def _values(text: str, option: str) -> list[Any]:
    try:
        values: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        if any(bracket in text for bracket in '{["'):
            raise UsageError(
                f"--grid {option}: not a list of JSON values",
                param="grid",
                hint='Quote it for the shell: --grid \'adapter={"type":"lora"},...\'',
            ) from None
        return [_value(word.strip(), option) for word in text.split(",")]
    return values


def _value(word: str, option: str) -> Any:
    if not word:
        raise UsageError(f"--grid {option}: a value is missing between commas", param="grid")
    for parse in (json.loads, float):
        try:
            return parse(word)
        except ValueError:
            continue
    return word
