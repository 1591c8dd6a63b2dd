"""What a set of adapters takes of a worker, in a form that can be added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Largest(NamedTuple):
    """Of each term of the byte model that only the hungriest adapter of a set decides, its value.

    The first three are bytes that a token keeps alive, by what is made again in the backward pass,
    in the order of `Recompute`. `visits` is probes a token, `visited_keys` probes times an expert's
    keys: both of MEFT alone, as are the numbers that its buffers on a GPU take.
    """

    token_bytes: int = 0
    token_bytes_cheap: int = 0
    token_bytes_block: int = 0
    #: Tokens of the longest sequence; 0: not known.
    longest: int = 0
    #: Numbers that are trained, which a checkpoint's snapshot copies.
    parameters: int = 0
    #: Columns beside a linear whose gradient a GPU sums up in parts.
    rank: int = 0
    buffer_values: int = 0
    buffer_gradients: int = 0
    visits: int = 0
    visited_keys: int = 0


_NOTHING = Largest()


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that `count` adapters hold while they train, and what decides the rest of the peak.

    `margin_bytes` is what adapters that nobody has measured may take beyond `device_bytes`. The
    footprint of two sets together is their sum: exact, and in any order.
    """

    count: int = 0
    device_bytes: int = 0
    host_bytes: int = 0
    margin_bytes: int = 0
    largest: Largest = _NOTHING

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.count + other.count,
            self.device_bytes + other.device_bytes,
            self.host_bytes + other.host_bytes,
            self.margin_bytes + other.margin_bytes,
            Largest._make(map(max, self.largest, other.largest)),
        )
