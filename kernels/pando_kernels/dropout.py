"""Dropout masks that do not depend on what else is in the microbatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SequenceDropout:
    """Draws the masks of one segment, those of each sequence from a generator of its own.

    `sequences` are (rows, generator) in the order of packing. Every layer draws in turn, so a
    sequence gets the same masks alone as between any others, provided its generator starts alike.
    """

    sequences: tuple[tuple[int, torch.Generator], ...]

    def thinned(self, rows: Sequence[int]) -> SequenceDropout:
        """The same generators for a layer that sees only some rows of each sequence."""
        generators = (generator for _, generator in self.sequences)
        return SequenceDropout(tuple(zip(rows, generators, strict=True)))

    def keep(self, x: Tensor, probability: float) -> Tensor:
        """A bool mask of the shape of x [t, in]: True, with this probability, where x is kept."""
        mask = torch.empty_like(x, dtype=torch.bool)
        lengths = [rows for rows, _ in self.sequences]
        for part, (_, generator) in zip(mask.split(lengths), self.sequences, strict=True):
            part.bernoulli_(probability, generator=generator)
        return mask
