"""Where results and errors go: rich text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from pando_cli.errors import CliError
from pando_cli.plain_console import PlainConsole
from pando_shared.errors import PandoError
from pando_shared.log_text import UNPRINTABLE


class Output:
    """stdout holds results only; progress and errors for people go to stderr.

    With `as_json`, stdout holds one JSON document (or one a line, for streams) and nothing else.
    """

    def __init__(self, as_json: bool):
        self.as_json = as_json
        self.console = PlainConsole()
        self.notes = PlainConsole(stderr=True)

    def result(self, value: Any, text: RenderableType) -> None:
        """Print `value` as JSON, or `text` for people."""
        if self.as_json:
            self.document(value)
        else:
            self.console.print(text, soft_wrap=isinstance(text, str))

    def document(self, value: Any) -> None:
        """One line of JSON, at once."""
        sys.stdout.write(_json(value) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something a person may want to know, and a program need not."""
        if not self.as_json:
            self.notes.print(text, soft_wrap=True)

    def error(self, error: PandoError) -> None:
        """The error on stderr; as JSON, `{"error": {...}}` in the API's own shape on stdout."""
        hint = error.hint if isinstance(error, CliError) else None
        if self.as_json:
            fields = {"message": error.message, "code": error.code, "param": error.param}
            self.document({"error": {**fields, "hint": hint}})
            return
        self.notes.print(Text("error", style="bold red"), end=": ")
        self.notes.print(error.message, soft_wrap=True)
        if hint:
            self.notes.print(hint, soft_wrap=True, style="dim")


def _json(value: Any) -> str:
    """People's letters as they are; what a terminal would obey, or cannot be written, escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
