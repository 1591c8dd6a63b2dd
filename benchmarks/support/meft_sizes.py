"""What the benchmark of rows in a host's memory trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from length_mixes import Item
from llama_shapes import LLAMA_8B, TINY, LlamaShape

from pando_shared.adapters import MeftConfig
from pando_shared.memory import MEFT_BUFFER_NUMBERS, MEFT_CACHE_BYTES


@dataclass(frozen=True, slots=True)
class GpuSizes:
    """`steps` of `sequences` sequences are timed after `warm` ones, in each of `rounds`. Their sum
    is no power of two: behind such a step hot experts are chosen anew."""

    shape: LlamaShape = LLAMA_8B
    adapters: tuple[MeftConfig, ...] = tuple(
        MeftConfig(num_keys=keys, top_k=64) for keys in (3072, 11264, 384)
    )
    sequences: int = 16
    length: int = 512
    microbatch_tokens: int = 4096
    warm: int = 4
    steps: int = 6
    rounds: int = 2
    limit_bytes: int = 24_000_000_000
    buffer_numbers: int = MEFT_BUFFER_NUMBERS
    cache_bytes: int = MEFT_CACHE_BYTES


#: Four of sixteen experts fit a buffer, four others the cache.
DRY_RUN = GpuSizes(
    shape=TINY,
    adapters=(MeftConfig(num_keys=128, top_k=8, num_experts=16, num_probes=4),),
    sequences=4,
    length=32,
    microbatch_tokens=64,
    warm=1,
    steps=2,
    rounds=1,
    buffer_numbers=4 * 8 * 64,
    cache_bytes=4 * (2 * 8 * 64) * 4 * 2,
)


def spoken_batch(size: int, length: int, vocabulary: int) -> list[Item]:
    """Sequences of one length, all tokens but the first targets. Some tokens are frequent as some
    words are: the n-th by a share of 1 / n (Zipf's law)."""
    rng = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, vocabulary + 1)
    tokens = rng.choice(rng.permutation(vocabulary), (size, length), p=shares / shares.sum())
    return [(row, np.arange(length) >= 1) for row in tokens]
