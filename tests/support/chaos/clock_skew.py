"""Wall clocks that are wrong, by libfaketime: the monotonic clock stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import libfaketime


def skew_environment(file: Path) -> Mapping[str, str]:
    """What makes a process's wall clock go by what `set_skew` has last written to a file."""
    _, additions = libfaketime.get_reload_information()
    return {
        **additions,
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "0",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_TIMESTAMP_FILE": str(file),
    }


def set_skew(file: Path, seconds: float) -> None:
    """Noticed within a second."""
    file.write_text(f"{seconds:+.0f}\n")
