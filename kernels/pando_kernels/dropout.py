"""Dropout masks that follow from what a row is, not from where it lies: Philox, counted by hand.

Whether an entry is kept depends on its sequence's key, its position in the sequence, the site in
the model and its column. So a mask is the same in forward and backward without being stored, alone
and among neighbours, in a whole sequence and in some of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Philox-4x32 (Salmon et al., SC 2011): multipliers and key increments; 7 rounds pass BigCrush.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 7
#: Each call of the generator decides eight neighbouring columns with 16 bits each.
COLUMNS_A_CALL = 8
_LOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class RowKeys:
    """What the masks of T packed rows depend on.

    sequence int64 [T] is the key of the row's sequence, position int64 [T] its place therein.
    """

    sequence: Tensor
    position: Tensor

    def rows(self, index: Tensor | slice) -> RowKeys:
        return RowKeys(self.sequence[index], self.position[index])


def threshold(probability: float) -> int:
    """An entry is dropped if its 16 random bits are below this."""
    return round(probability * 65536)


def keep_mask(keys: RowKeys, site: int, width: int, probability: float) -> Tensor:
    """bool [T, width]: False with this probability. `site` is any 32-bit number of the layer."""
    calls = -(-width // COLUMNS_A_CALL)
    words = philox(
        (keys.sequence & _LOW)[:, None],
        (keys.sequence >> 32 & _LOW)[:, None],
        keys.position[:, None],
        torch.arange(calls, device=keys.position.device)[None, :],
        site,
    )
    halves = torch.stack([half for word in words for half in (word & 0xFFFF, word >> 16)], dim=-1)
    return (halves >= threshold(probability)).flatten(1)[:, :width]


def philox(
    key0: Tensor, key1: Tensor, counter0: Tensor, counter1: Tensor, counter2: int
) -> tuple[Tensor, ...]:
    """Four words of 32 random bits for each counter (counter0, counter1, counter2, 0).

    All arguments are int64 that hold 32 bits, and broadcast; so are the results.
    """
    shape = torch.broadcast_shapes(key0.shape, counter0.shape, counter1.shape)
    c0, c1 = counter0.expand(shape), counter1.expand(shape)
    c2, c3 = torch.full_like(c0, counter2 & _LOW), torch.zeros_like(c0)
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> 32 & _LOW) ^ c1 ^ key0,
            product1 & _LOW,
            (product0 >> 32 & _LOW) ^ c3 ^ key1,
            product0 & _LOW,
        )
        key0, key1 = key0 + INCREMENTS[0] & _LOW, key1 + INCREMENTS[1] & _LOW
    return c0, c1, c2, c3
