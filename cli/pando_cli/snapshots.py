"""Jobs, or a sweep, looked at again and again until all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pando_cli.api import Api, JsonObject
from pando_cli.ended import ended
from pando_cli.errors import Unreachable
from pando_cli.event_stream import PATIENCE_SECONDS

JOBS_REFRESH_SECONDS = 0.5
#: A sweep may be hundreds of jobs in one answer.
SWEEP_REFRESH_SECONDS = 1.0

Found = TypeVar("Found")


def job_snapshots(
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
    return _snapshots(
        lambda: [api.job(job_id) for job_id in job_ids],
        lambda jobs: all(map(ended, jobs)),
        lambda: sleep(JOBS_REFRESH_SECONDS),
        now,
    )


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
    return _snapshots(lambda: api.sweep(sweep_id), ended, lambda: sleep(SWEEP_REFRESH_SECONDS), now)


def _snapshots(
    look: Callable[[], Found],
    over: Callable[[Found], bool],
    pause: Callable[[], None],
    now: Callable[[], float],
) -> Iterator[Found]:
    """What `look` finds, whenever it has changed, to the first that is `over`."""
    shown: Found | None = None
    heard_at = now()
    while True:
        try:
            found = look()
        except Unreachable:
            if now() - heard_at > PATIENCE_SECONDS:
                raise
        else:
            heard_at = now()
            if found != shown:
                yield found
            shown = found
            if over(found):
                return
        pause()
