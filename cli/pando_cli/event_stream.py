"""A job's events as they happen: server-sent events that survive a dropped connection."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, SSEError

from pando_cli.api import Api, JsonObject
from pando_cli.ended import ended
from pando_cli.errors import Refused, Unreachable

#: How long a service may be away (restarting, say) before following gives up.
PATIENCE_SECONDS = 60.0
#: The service sends a comment at least this often, so a longer silence is a dead connection.
SILENCE_SECONDS = 60.0


def follow(
    api: Api,
    job_id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[JsonObject]:
    """Every event of a job, oldest first and each once, until the job has ended.

    Raises:
        Unreachable: the service stayed away for longer than `PATIENCE_SECONDS`.
        Refused: there is no such job.
    """
    last_seen: str | None = None
    last_heard = now()
    while True:
        try:
            # Asked before the stream is read: events of a job that has ended are all there already.
            over = ended(api.job(job_id))
            for event in _stream(api, job_id, last_seen):
                last_heard = now()
                last_seen = event["id"]
                yield event
            if over:
                return
            last_heard = now()
        except (Unreachable, httpx.TransportError, SSEError) as error:
            if now() - last_heard > PATIENCE_SECONDS:
                raise Unreachable(
                    f"{api.http.url} went away while following {job_id}",
                    hint="The job goes on without us; `pando logs -f` picks it up again.",
                ) from error
        except Refused as error:
            if error.status < 500 or now() - last_heard > PATIENCE_SECONDS:
                raise
        sleep(0.5)


def _stream(api: Api, job_id: str, last_seen: str | None) -> Iterator[JsonObject]:
    path = f"fine_tuning/jobs/{quote(job_id, safe='')}/events"
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=5.0)
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_seen is not None:
        headers["Last-Event-ID"] = last_seen
    with api.http.streaming(
        "GET", path, params={"stream": "true"}, headers=headers, timeout=timeout
    ) as response:
        for message in EventSource(response).iter_sse():
            event = _event(message.data)
            if event is not None:
                yield event


def _event(data: str) -> JsonObject | None:
    """None for what is not an event, such as the `[DONE]` that closes a stream."""
    try:
        value: Any = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "id" in value else None
