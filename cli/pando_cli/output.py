"""Where results and errors go: rich text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console, RenderableType

from pando_cli.errors import CliError
from pando_shared.errors import PandoError


class Output:
    """stdout holds results only; progress and errors for people go to stderr.

    With `as_json`, stdout holds one JSON document (or one a line, for streams) and nothing else.
    """

    def __init__(self, as_json: bool):
        self.as_json = as_json
        self.console = Console(highlight=False)
        self.notes = Console(stderr=True, highlight=False)

    def result(self, value: Any, text: RenderableType) -> None:
        """Print `value` as JSON, or `text` for people."""
        if self.as_json:
            self.document(value)
        else:
            self.console.print(text, soft_wrap=isinstance(text, str))

    def document(self, value: Any) -> None:
        """One line of JSON, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
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
        self.notes.print("[bold red]error[/]:", end=" ")
        self.notes.print(error.message, markup=False, soft_wrap=True)
        if hint:
            self.notes.print(hint, markup=False, soft_wrap=True, style="dim")
