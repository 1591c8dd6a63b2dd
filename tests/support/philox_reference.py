"""Philox-4x32 (Salmon et al., SC 2011) in Python's integers, and dropout's masks by it."""

from __future__ import annotations

_WORD = 0xFFFFFFFF


def philox(counter: tuple[int, ...], key: tuple[int, int], rounds: int) -> tuple[int, ...]:
    """Four words of 32 random bits."""
    c = list(counter)
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return tuple(c)


def keep(key: int, position: int, site: int, column: int, probability: float) -> bool:
    """Whether dropout keeps this entry: 16 bits of the column's own are not below the threshold.

    key is a sequence's, 64 bits of either sign. Eight columns share a counter (position,
    column // 8, site, 0); column i of them has half i % 2, the low one first, of word i // 2.
    """
    words = philox((position, column // 8, site, 0), (key & _WORD, key >> 32 & _WORD), rounds=7)
    word, half = divmod(column % 8, 2)
    return (words[word] >> 16 * half & 0xFFFF) >= round(probability * 65536)
