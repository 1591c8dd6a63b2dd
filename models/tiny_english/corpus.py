"""The pretraining text: an endless, seeded stream of chats and stories."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tiny_english import words
from tiny_english.exchanges import FACTS, OTHERS, Exchange
from tiny_english.stories import story
from tiny_english.styles import STYLES, Style, plain

#: Questions the demo asks at its end, and their plain answers. Neither the styled chats here nor
#: the demo's data hold them.
HELD_OUT = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Where does a bee live?": "A bee lives in a hive.",
    "What does a baker do?": "A baker bakes bread.",
}
_OPENERS = ("", "", "", "", "Please tell me: ", "I have a question. ", "Hello! ")

Messages = list[dict[str, str]]


def is_held_out(exchange: Exchange) -> bool:
    """Whether an exchange asks for what a held-out question asks for, in whatever words."""
    return exchange.answer in HELD_OUT.values()


def exchange(rng: random.Random) -> Exchange:
    return rng.choice(FACTS if rng.random() < 0.72 else OTHERS)(rng)


def chat(rng: random.Random) -> Messages:
    """One to three turns. One chat in five opens with a system message that asks for a style."""
    messages: Messages = []
    style: Style = plain
    styled = rng.random() < 0.2
    if styled:
        request, style = STYLES[rng.choice(list(STYLES))]
        messages.append({"role": "system", "content": request})
    for _ in range(rng.choice((1, 1, 2, 3))):
        turn = exchange(rng)
        if styled and is_held_out(turn):
            continue
        question = rng.choice(_OPENERS) + turn.question
        if rng.random() < 0.08:
            question = question.lower().rstrip("?.!")
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": style(turn)})
    return messages if messages[-1]["role"] == "assistant" else chat(rng)


def documents(seed: int) -> Iterator[Messages | str]:
    """Chats, and every twelfth or so a story by itself."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.08:
            yield story(rng, rng.choice(words.ANIMALS))
        else:
            yield chat(rng)
