"""Several jobs looked at again and again, until all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pando_cli.api import Api, JsonObject
from pando_cli.errors import Unreachable
from pando_cli.event_stream import PATIENCE_SECONDS, ended

REFRESH_SECONDS = 0.5


def snapshots(
    api: Api,
    job_ids: Sequence[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[list[JsonObject]]:
    """The jobs in the order asked for, whenever one has changed; in the last one all have ended.

    Raises:
        Unreachable: the service was away for longer than `PATIENCE_SECONDS`.
    """
    shown: list[JsonObject] | None = None
    heard_at = now()
    while True:
        try:
            jobs = [api.job(job_id) for job_id in job_ids]
        except Unreachable:
            if now() - heard_at > PATIENCE_SECONDS:
                raise
        else:
            heard_at = now()
            if jobs != shown:
                yield jobs
            shown = jobs
            if all(ended(job) for job in jobs):
                return
        sleep(REFRESH_SECONDS)
