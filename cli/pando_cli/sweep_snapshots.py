"""A sweep looked at again and again, until all its trials have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pando_cli.api import Api, JsonObject
from pando_cli.errors import Unreachable
from pando_cli.event_stream import PATIENCE_SECONDS
from pando_cli.sweep_table import ended

REFRESH_SECONDS = 1.0


def sweep_snapshots(
    api: Api,
    sweep_id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[JsonObject]:
    """The sweep whenever it has changed; in the last one all trials have ended.

    Raises:
        Unreachable: the service was away for longer than `PATIENCE_SECONDS`.
    """
    shown: JsonObject | None = None
    heard_at = now()
    while True:
        try:
            sweep = api.sweep(sweep_id)
        except Unreachable:
            if now() - heard_at > PATIENCE_SECONDS:
                raise
        else:
            heard_at = now()
            if sweep != shown:
                yield sweep
            shown = sweep
            if ended(sweep):
                return
        sleep(REFRESH_SECONDS)
