"""What a service's JSON log would hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pando_shared.logs import make_handler
from pando_shared.settings import Settings

#: Gives the lines so far, each decoded.
Lines = Callable[[], list[dict[str, Any]]]


@contextmanager
def json_log(service: str, package: str, level: str = "DEBUG") -> Iterator[Lines]:
    """Collect what `package` logs while the block runs."""
    written = io.StringIO()
    handler = make_handler(Settings(log_format="json"), service)
    handler.setStream(written)
    logger = logging.getLogger(package)
    before = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
