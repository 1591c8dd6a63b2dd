"""Token sequences with the lengths of real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Token ids [L], and where a token is a target [L].
Item = tuple[NDArray[np.int64], NDArray[np.bool_]]

_FOLDER = Path(__file__).resolve().parents[1]
#: (prompt, answer) lengths: GSM8K's problems, and conversations of a production service.
MIXES = {"gsm8k": "gsm8k_lengths.json", "conversations": "conversation_lengths.json"}


def mean_length(mix: str) -> float:
    return float(np.mean([prompt + answer for prompt, answer in _pairs(mix)]))


def batches(mix: str, jobs: int, size: int, vocabulary: int, longest: int) -> list[list[Item]]:
    """`size` sequences for each job, which together have the mix's spread of lengths.

    They are at evenly spaced ranks of its lengths and dealt out at random, always the same, so
    that a step has as many tokens as any other.
    """
    pairs = sorted(_pairs(mix), key=sum)
    count = jobs * size
    rng = np.random.default_rng(0)
    chosen = [pairs[int((i + 0.5) * len(pairs) / count)] for i in range(count)]
    items = [_item(*chosen[i], vocabulary, longest, rng) for i in rng.permutation(count)]
    return [items[job * size : (job + 1) * size] for job in range(jobs)]


def uniform_batch(size: int, length: int, vocabulary: int) -> list[Item]:
    """Sequences of one length, of which all tokens but the first are targets."""
    rng = np.random.default_rng(0)
    return [_item(1, length - 1, vocabulary, length, rng) for _ in range(size)]


def _pairs(mix: str) -> list[tuple[int, int]]:
    table = json.loads((_FOLDER / MIXES[mix]).read_text())
    return [(int(prompt), int(answer)) for prompt, answer in table["prompt_answer_tokens"]]


def _item(
    prompt: int, answer: int, vocabulary: int, longest: int, rng: np.random.Generator
) -> Item:
    length = min(prompt + answer, longest)
    tokens = rng.integers(3, vocabulary, length)
    return tokens, np.arange(length) >= max(1, min(prompt, length - 1))
