"""Lengths of packed sequences, and where they start."""

from __future__ import annotations

import pytest
import torch

from pando_kernels.sequences import Sequences


@pytest.mark.parametrize(
    ("lengths", "starts"), [((), [0]), ((5,), [0, 5]), ((3, 1, 7), [0, 3, 4, 11])]
)
def test_starts_are_the_sums_of_the_lengths(lengths, starts):
    sequences = Sequences(lengths, torch.device("cpu"))
    assert sequences.starts.tolist() == starts
    assert sequences.starts.dtype == torch.int32
    assert sequences.tokens == starts[-1]
    assert sequences.longest == max(lengths, default=0)


def test_starts_are_made_once():
    sequences = Sequences((3, 4), torch.device("cpu"))
    assert sequences.starts is sequences.starts
