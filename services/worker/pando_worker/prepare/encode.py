"""Examples to tokens and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pando_worker.prepare.examples import Chat, Completion, Example, Text
from pando_worker.prepare.spans import ChatRenderer
from pando_worker.tokenizer import TextTokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence, both lists [length]; `targets` says which tokens are to be predicted."""

    tokens: list[int]
    targets: list[bool]

    def first(self, length: int) -> Encoded:
        return Encoded(self.tokens[:length], self.targets[:length])


class Encoder:
    """Turns examples into sequences for one tokenizer."""

    def __init__(self, tokenizer: TextTokenizer):
        self._tokenizer = tokenizer
        self._chats = ChatRenderer(tokenizer)

    def encode(self, example: Example) -> Encoded:
        """The whole sequence, uncut.

        Raises:
            BadField: the chat template refuses the chat.
        """
        match example:
            case Chat():
                rendered = self._chats.render(example)
                return self._tokenise(rendered.text, rendered.spans, bare=False)
            case Completion(prompt, completion):
                whole = prompt + completion
                return self._tokenise(whole, ((len(prompt), len(whole)),), bare=True)
            case Text(text):
                return self._tokenise(text, ((0, len(text)),), bare=True)

    def _tokenise(self, text: str, spans: Sequence[tuple[int, int]], bare: bool) -> Encoded:
        """Tokens of `text`; those that begin inside a span are targets.

        A token that straddles a span's start is none: in use, the prompt ends there, and the model
        never gets to predict it. Bare text gets the tokenizer's own start token, and an end.
        """
        encoding = self._tokenizer(
            text,
            add_special_tokens=bare,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        tokens: list[int] = list(encoding["input_ids"])
        targets = _inside(encoding["offset_mapping"], spans)
        end = self._tokenizer.eos_token_id
        if bare and end is not None:
            if tokens[-1:] == [end]:
                targets[-1] = True
            else:
                tokens.append(end)
                targets.append(True)
        if targets:
            targets[0] = False  # Nothing comes before it that it could be predicted from.
        return Encoded(tokens, targets)


def _inside(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """For each token, whether it begins inside one of the spans. Both are in ascending order."""
    targets: list[bool] = []
    at = previous_end = 0
    for start, end in offsets:
        # Byte-level tokenizers report tokens of mere spaces as empty: those begin where the last
        # token ended.
        begin = previous_end if start == end else start
        previous_end = max(previous_end, end)
        while at < len(spans) and begin >= spans[at][1]:
            at += 1
        targets.append(at < len(spans) and spans[at][0] <= begin)
    return targets
