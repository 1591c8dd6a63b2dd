"""One job's training data: which sequences make up each optimizer step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Sequences(Protocol):
    """Tokenised sequences, such as a `TokenFile`."""

    def __len__(self) -> int: ...

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence; 0 if there is none."""
        ...

    def sequence(self, index: int) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
        """Token ids [L], and where a token is a training target [L] (never at position 0)."""
        ...


@dataclass(frozen=True, slots=True)
class ListSequences:
    """Sequences held in memory, for library use and tests."""

    items: tuple[tuple[NDArray[np.integer], NDArray[np.bool_]], ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def longest(self) -> int:
        return max((len(tokens) for tokens, _ in self.items), default=0)

    def sequence(self, index: int) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
        return self.items[index]


def batch_at(step: int, examples: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """Indices of the sequences of optimizer step `step` (from 0): a pure function, so a job's
    place in its data is its step alone.

    Each epoch is a permutation of its own; its last batch may be smaller.
    """
    epoch, batch = divmod(step, -(-examples // batch_size))
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)
    return order[batch * batch_size : (batch + 1) * batch_size]
