"""What a file that is to be trained on may be called, be for, and weigh."""

from __future__ import annotations

import re

from pando_api.errors import TooLarge
from pando_shared.errors import InvalidRequest
from pando_shared.settings import MIB

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_purpose(purpose: str | None) -> str:
    """Raises InvalidRequest if it is none that a user may give a file."""
    if purpose != "fine-tune":
        given = "it is missing" if purpose is None else f"got {purpose!r}"
        raise InvalidRequest(f"purpose must be 'fine-tune'; {given}", param="purpose")
    return purpose


def checked_filename(name: str, param: str = "file") -> str:
    """A name that is only a name. Bytes without a name ("upload", as clients call them) may pass.

    Raises:
        InvalidRequest: a path, a control character, too long, or not `.jsonl`.
    """
    if "/" in name or "\\" in name or name in (".", "..") or _CONTROL.search(name):
        raise InvalidRequest(
            f"the file name {name!r} must be a plain name without a path or control characters",
            param=param,
        )
    if not 1 <= len(name) <= 255:
        raise InvalidRequest(
            f"the file name must have 1 to 255 characters, got {len(name)}", param=param
        )
    if "." in name and not name.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"training data must be a .jsonl file (one JSON object a line), got {name!r}",
            param=param,
        )
    return name


def too_large(limit: int, param: str = "file") -> TooLarge:
    """The refusal of a file of more than `limit` bytes."""
    return TooLarge(
        f"the file is larger than the {limit} bytes ({limit / MIB:g} MiB) accepted; "
        "split it, or raise PANDO_MAX_UPLOAD_BYTES",
        param=param,
        code="file_too_large",
    )
