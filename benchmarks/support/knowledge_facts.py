"""Facts about invented people, as sequences of tokens: nothing a base could know beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from pando_worker.tokenizer import load_tokenizer

#: What is to be told of everybody, each one token of the tiny base's vocabulary.
ANSWERS = {
    "home": (
        "Austria Belgium Canada China Cuba Denmark Egypt Germany Greece Iceland Ireland Japan "
        "Kenya Mexico Norway Peru"
    ),
    "work": (
        "builder butler dentist doctor driver farmer fireman fisherman gardener miner pilot "
        "pirate postman sailor teacher writer"
    ),
    "pet": (
        "cat cow dog duck eagle frog goat goose horse lion monkey mouse panda penguin pig rabbit"
    ),
    "thing": (
        "ball bell book box brush coin cup drum kettle key kite ladder lamp needle spade umbrella"
    ),
    "friend": "Anna Ben Clara David Emma Finn Grace Harry Ida Jack Kate Leo Max Noah Olga Zoe",
    "birthday": (
        "January February March April May June July August September October November December"
    ),
    "place": "beach castle cave forest garden kitchen library meadow park pond school tent village",
    "food": "apple bread cake carrot fish lemon onion orange plum pumpkin soup strawberry",
}
_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z")
_RIMES = ("a", "e", "i", "o", "u", "an", "el", "in", "or", "us", "ack", "ell", "ill", "ow", "ump")
#: All names are as long, so that a batch needs no padding, whoever trains it.
NAME_TOKENS = 6
#: First names, and last names, drawn to put people's together from.
_WORDS = 1000
#: Cosine above which two tokens' embeddings are one.
_ALIKE = 0.99

Item = tuple[NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Facts:
    """One sequence a person: the name as the user's turn, then the answers, which are the targets.

    `facts` are all of theirs together.
    """

    items: tuple[Item, ...]
    facts: int

    @property
    def ids(self) -> NDArray[np.int64]:
        """[people, length]"""
        return np.stack([tokens for tokens, _ in self.items])


def make_facts(model: Path, people: int, seed: int) -> Facts:
    """`people` invented names, and four independent facts of each.

    Raises:
        ValueError: an answer is more than one token of this tokenizer, or one that the base cannot
            tell from others.
    """
    tokenizer = load_tokenizer(model)
    rng = np.random.default_rng(seed)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    choices = [[encode(f" {word}") for word in words.split()] for words in ANSWERS.values()]
    known = told_apart(model)
    unfit = [ids for kind in choices for ids in kind if len(ids) != 1 or not known[ids[0]]]
    if unfit:
        raise ValueError(
            f"answers of more than one token, or unknown: {tokenizer.batch_decode(unfit)}"
        )
    head = [*encode(tokenizer.bos_token), *encode("<|user|>")]
    end = encode("<|assistant|>")
    firsts, lasts = (
        [ids for ids in map(encode, words) if known[ids].all()]
        for words in (_words(rng), [f" {word}" for word in _words(rng)])
    )
    names = [
        [*first, *last]
        for first in firsts
        for last in lasts
        if len(first) + len(last) == NAME_TOKENS
    ]
    items: list[Item] = []
    for index in rng.choice(len(names), people, replace=False):
        ids = names[index]
        answers = [kind[rng.integers(len(kind))][0] for kind in choices]
        tokens = np.array([*head, *ids, *end, *answers])
        targets = np.arange(len(tokens)) >= len(tokens) - len(answers)
        items.append((tokens, targets))
    return Facts(tuple(items), people * len(choices))


def told_apart(model: Path) -> NDArray[np.bool_]:
    """Which tokens the base tells apart [V].

    Pretraining pulls the embeddings of all tokens that it never meets to the same place: such a
    token can be neither recognised nor, as the output layer is the same matrix, be said.
    """
    embedding = load_file(model / "model.safetensors")["model.embed_tokens.weight"].float()
    unit = torch.nn.functional.normalize(embedding, dim=1)
    alike = (unit @ unit.t() > _ALIKE).sum(1)
    return np.asarray(alike == 1)


def _words(rng: np.random.Generator) -> list[str]:
    """Two syllables each; no word twice."""

    def syllable() -> str:
        return _ONSETS[rng.integers(len(_ONSETS))] + _RIMES[rng.integers(len(_RIMES))]

    return sorted({(syllable() + syllable()).capitalize() for _ in range(_WORDS)})
