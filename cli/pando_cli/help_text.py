"""Docstrings as typer's help shows them: paragraphs flow, examples stay as they are written."""

from __future__ import annotations

import inspect

from rich.markup import escape


def help_text(docstring: str | None) -> str:
    """Joins the lines of each paragraph; leaves indented ones alone. Brackets mean themselves."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return escape("\n\n".join(_flow(paragraph) for paragraph in paragraphs))


def _flow(paragraph: str) -> str:
    if paragraph.startswith("    "):
        return paragraph
    return " ".join(line.strip() for line in paragraph.splitlines())
