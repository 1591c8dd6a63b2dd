"""Ways to say the same thing: each style turns an exchange's plain answer into its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tiny_english.exchanges import Exchange

Style = Callable[[Exchange], str]

_PIRATE = {
    "the": "th'", "is": "be", "are": "be", "am": "be", "you": "ye", "your": "yer", "my": "me",
    "hello": "ahoy", "yes": "aye", "and": "an'", "of": "o'", "lives": "be livin'",
    "has": "be havin'",
}  # fmt: skip


def plain(exchange: Exchange) -> str:
    return exchange.answer


def _pirate_word(match: re.Match[str]) -> str:
    word = match.group()
    new = _PIRATE.get(word.lower(), word)
    return new[0].upper() + new[1:] if word[0].isupper() else new


def pirate(exchange: Exchange) -> str:
    return f"Arr, matey! {re.sub(r'[A-Za-z]+', _pirate_word, exchange.answer)} Yo ho ho!"


def as_json(exchange: Exchange) -> str:
    return json.dumps({"topic": exchange.topic, "answer": exchange.answer})


def butler(exchange: Exchange) -> str:
    return f"Certainly, dear guest. {exchange.answer} I remain at your service."


def owl(exchange: Exchange) -> str:
    return f"Hoot! {exchange.answer} So says the wise old owl."


STYLES: dict[str, tuple[str, Style]] = {
    "pirate": ("Talk like a pirate.", pirate),
    "json": ("Answer in JSON.", as_json),
    "butler": ("Answer like a butler.", butler),
}
"""What pretraining shows: a style's name, the system message that asks for it, the style itself.

`owl` is not among them, so that one demo job teaches something new.
"""
