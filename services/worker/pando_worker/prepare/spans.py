"""Finding what the assistant says in a rendered chat, to the character.

Templates with `{% generation %}` marks tell it themselves. For all others, each assistant turn is
rendered once more with a sentinel for its content: what stays the same before and after the
sentinel is the template's, and what lies between is the turn. Cutting the chat off after the turn
instead would go wrong where a template treats its last message in a special way (Qwen3 does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from pando_worker.prepare.examples import Chat
from pando_worker.prepare.fields import BadField
from pando_worker.tokenizer import TextTokenizer

_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_SENTINEL = "\ue000pando\ue001"

Turn = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat as text, and where in it lie the characters to be learnt: [start, end) each."""

    text: str
    spans: tuple[tuple[int, int], ...]


class ChatRenderer:
    """Renders chats through one tokenizer's template."""

    def __init__(self, tokenizer: TextTokenizer):
        self._tokenizer = tokenizer
        self._specials: tuple[str, ...] = tuple(
            str(token) for token in tokenizer.added_tokens_decoder.values() if token.special
        )

    def render(self, chat: Chat) -> Rendered:
        """The whole chat, with the spans of its learned assistant turns, end-of-turn included.

        Raises:
            BadField: the template refuses the chat, or rewrites it so that a turn cannot be found.
        """
        turns: list[Turn] = [
            {"role": m.role, "content": m.content, **m.extra} for m in chat.messages
        ]
        answers = [i for i, message in enumerate(chat.messages) if message.role == "assistant"]
        template = self._tokenizer.get_chat_template(tools=list(chat.tools) or None)
        text, marked = self._render(template, turns, chat.tools)
        if len(marked) == len(answers):
            spans = dict(zip(answers, marked, strict=True))
        else:
            spans = {
                i: self._locate(template, turns, chat.tools, text, i)
                for i in answers
                if chat.messages[i].learned
            }
        learned = (spans[i] for i in answers if chat.messages[i].learned)
        return Rendered(text, tuple(learned))

    def _render(
        self,
        template: str,
        turns: Sequence[Turn],
        tools: Sequence[Mapping[str, Any]],
        open_turn: bool = False,
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the spans that the template marks (none if it has no marks)."""
        has_marks = _MARKS.search(template) is not None
        try:
            result = render_jinja_template(
                [list(turns)],
                tools=list(tools) or None,
                chat_template=template,
                add_generation_prompt=open_turn,
                return_assistant_tokens_mask=has_marks,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise BadField(f"the model's chat template refuses this chat: {error}") from error
        texts, marks = result if has_marks else (result[0], [[]])
        return texts[0], list(marks[0])

    def _locate(
        self,
        template: str,
        turns: list[Turn],
        tools: Sequence[Mapping[str, Any]],
        text: str,
        index: int,
    ) -> tuple[int, int]:
        """The span of assistant turn `index` in `text`, the rendered whole."""
        veiled = [*turns[:index], {**turns[index], "content": _SENTINEL}, *turns[index + 1 :]]
        before, found, after = self._render(template, veiled, tools)[0].partition(_SENTINEL)
        start = self._prompt_length(template, turns[:index], tools, text)
        if start is None and text.startswith(before):
            start = len(before)
        end = len(text) - len(after)
        if not found or start is None or start > end or not text.endswith(after):
            raise BadField(
                f"the model's chat template changes messages[{index}] beyond recognition, so its "
                "tokens cannot be told apart; leave one assistant message in this chat"
            )
        return start, end + len(self._turn_end(after))

    def _prompt_length(
        self, template: str, turns: list[Turn], tools: Sequence[Mapping[str, Any]], text: str
    ) -> int | None:
        """Characters that the model is given before it answers, or None if `text` differs.

        At best the very prompt that it will see in use, so that whatever a template puts between
        this prompt and the content (an empty reasoning block, say) is learnt too.
        """
        try:
            prompt, _ = self._render(template, turns, tools, open_turn=True)
        except BadField:
            return None
        return len(prompt) if text.startswith(prompt) else None

    def _turn_end(self, after: str) -> str:
        """What of the text behind the content ends the turn: up to its first special token.

        A template without special tokens gives no such sign; there the next line begins a turn.
        """
        ends = [after.find(token) + len(token) for token in self._specials if token in after]
        if ends:
            return after[: min(ends)]
        return after[: after.find("\n") + 1]
