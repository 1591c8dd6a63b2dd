"""What README.md and docs/*.md tell a reader to type, as it stands there.

Indented blocks and those fenced as `sh` are commands, those fenced as `python` are scripts; a
block fenced as anything else is shown, not typed. A `json` block right behind a command, with
nothing but prose between, is what that command prints.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


@dataclass(frozen=True, slots=True)
class Block:
    """`line` is where its text begins; `section` the heading above it; `language` "sh" for
    commands, else what the fence says."""

    page: str
    line: int
    section: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell, over as many lines as it takes. `shown` is the JSON that the page
    says it prints."""

    page: str
    line: int
    section: str
    text: str
    shown: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def bare(self) -> str:
        """Without the comment behind it, on one line."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return re.sub(r"\s+#\s.*$", "", joined).strip()


@cache
def blocks(page: str) -> tuple[Block, ...]:
    return tuple(_blocks(page))


def _blocks(page: str) -> Iterator[Block]:
    section = ""
    tokens = MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            section = token.content
        if token.type == "fence":
            yield Block(page, _line(token) + 1, section, token.info.strip(), token.content)
        elif token.type == "code_block":
            yield Block(page, _line(token), section, "sh", token.content)


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


@cache
def commands(page: str) -> tuple[Command, ...]:
    """All that a page has for the shell, in the order in which a reader comes to them."""
    found: list[Command] = []
    for block in blocks(page):
        if block.language == "sh":
            found += _commands(block)
        elif block.language == "json" and found and found[-1].section == block.section:
            last = found[-1]
            found[-1] = Command(last.page, last.line, last.section, last.text, block.text)
    return tuple(found)


def _commands(block: Block) -> Iterator[Command]:
    pending: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        pending.append(line)
        text = "\n".join(pending)
        if not text.strip() or text.lstrip().startswith("#"):
            pending = []
        elif not line.endswith("\\") and _is_whole(text):
            yield Command(block.page, number - len(pending) + 1, block.section, text)
            pending = []
    assert not pending, f"{block.page}:{block.line}: a command that does not end: {pending}"


def _is_whole(text: str) -> bool:
    """Whether a shell would run it now, and not wait for a quote or a `done`."""
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True).returncode == 0


def section(page: str, title: str) -> tuple[Command, ...]:
    """The commands below one heading of a page."""
    found = tuple(each for each in commands(page) if each.section == title)
    assert found, f"{page} has no commands below a heading {title!r}"
    return found


def scripts(page: str) -> tuple[Block, ...]:
    return tuple(block for block in blocks(page) if block.language == "python")


def spans(page: str) -> tuple[str, ...]:
    """All `code` within a page's text."""
    tokens = MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    return tuple(each.content for each in inline if each.type == "code_inline")
