"""Records that others write of themselves, read so that one of nonsense spoils no other."""

from __future__ import annotations

import logging
from typing import TypeVar

from pydantic import ValidationError

from pando_shared.codec import decode

log = logging.getLogger(__name__)

T = TypeVar("T")


def readable(cls: type[T], texts: list[bytes]) -> list[T]:
    """What can be read. A worker may be of another version, or broken: JSON has no NaN."""
    found = []
    for text in texts:
        try:
            found.append(decode(cls, text))
        except ValidationError as error:
            log.warning("a %s is left out that cannot be read: %s", cls.__name__, error)
    return found
