"""A job's events as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from anyio.to_thread import run_sync
from sse_starlette import ServerSentEvent

from pando_api.event_watch import EventWatch
from pando_api.schemas.history import EventObject
from pando_shared.history import History

#: Read at a time: about a quarter of a megabyte, which a client that does not read holds.
_AT_ONCE = 250


async def follow(
    history: History, watch: EventWatch, job_id: str, start: int
) -> AsyncIterator[ServerSentEvent]:
    """Events with `seq` >= `start`, oldest first, until the job has ended and all are sent."""
    told = 0
    while True:
        events = await run_sync(partial(history.events, job_id, start=start, limit=_AT_ONCE))
        for event in events:
            shown = EventObject.of(event, job_id)
            yield ServerSentEvent(shown.model_dump_json(), event=event.type, id=shown.id)
        if events:
            start = events[-1].seq + 1
        elif told > start:
            # Storage has lost them; what came later is still to be sent.
            start = told
        else:
            told = (await watch.news(job_id, start)).events
            if told <= start:
                return
