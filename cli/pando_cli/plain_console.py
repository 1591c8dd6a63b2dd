"""A terminal that obeys us alone: what others have written is shown, and means nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pando_shared.log_text import on_one_line


class PlainConsole(Console):
    """Names, messages and answers come from other people, through the service.

    So brackets are no markup, colons no emoji, and what would move the cursor, set a title or
    turn the text around is shown as Python writes it: `\\x1b`.
    """

    def __init__(self, *, stderr: bool = False):
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # Control segments are rich's own, of a live display.
            yield segment if segment.control else segment._replace(text=_shown(segment.text))


def _shown(text: str) -> str:
    return "\n".join(map(on_one_line, text.split("\n")))
