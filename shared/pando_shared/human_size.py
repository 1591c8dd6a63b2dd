"""Sizes as people read them."""

from __future__ import annotations


def human_size(count: float, digits: int = 1) -> str:
    """1.5 * 2**30 bytes -> "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.{digits}f} {unit}"
        count /= 1024
    return f"{count:.{digits}f} TiB"
