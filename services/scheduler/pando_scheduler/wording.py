"""Figures and lists as people read them, and coarse enough to stay as they are for a while."""

from __future__ import annotations

from collections.abc import Sequence

from pando_shared.human_size import human_size

_NAMED = 3
#: Up to so many seconds a time ahead is told in steps of so many.
_STEPS = ((600.0, 60.0), (3600.0, 300.0), (6 * 3600.0, 1800.0), (48 * 3600.0, 3600.0))


def sizes(needed: int, available: int) -> tuple[str, str]:
    """Both, in as many digits as it takes to tell them apart."""
    for digits in range(1, 4):
        texts = human_size(needed, digits), human_size(available, digits)
        if needed == available or texts[0] != texts[1]:
            return texts
    return f"{needed} bytes", f"{available} bytes"


def ahead(seconds: float) -> str:
    """A time ahead: "within a minute", "in about 14 min", "in about 2.5 h", "in about 3 days"."""
    if seconds < 60.0:
        return "within a minute"
    step = next((step for most, step in _STEPS if seconds < most), 86400.0)
    told = round(seconds / step) * step
    if told < 3600.0:
        return f"in about {told / 60:.0f} min"
    if step < 86400.0:
        return f"in about {told / 3600:g} h"
    return f"in about {told / 86400:.0f} days"


def rounded(count: int) -> int:
    """In two significant digits beyond a hundred: a place more or less is no news there."""
    step = 10 ** max(0, len(str(count)) - 2) if count >= 100 else 1
    return count // step * step


def counted(count: int, what: str) -> str:
    """ "1 job", "2 jobs"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    told = ", ".join(names[:_NAMED])
    return told if len(names) <= _NAMED else f"{told} and {len(names) - _NAMED} more"


def gib(count: float) -> str:
    """Bytes as the log has them."""
    return f"{count / (1 << 30):.2f} GiB"
