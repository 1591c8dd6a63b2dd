"""What the engine makes again in the backward pass instead of keeping it."""

from __future__ import annotations

from enum import Enum


class Recompute(Enum):
    """In order of what it spares and costs.

    CHEAP: the norms' outputs and the activation's, which cost no product. BLOCK: all of a decoder
    block but its input; a third more work.
    """

    NOTHING = "nothing"
    CHEAP = "cheap"
    BLOCK = "block"
