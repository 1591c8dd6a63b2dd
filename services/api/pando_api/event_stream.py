"""A job's events as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from anyio.to_thread import run_sync
from sse_starlette import ServerSentEvent

from pando_api.schemas.history import EventObject
from pando_shared.records import Event
from pando_shared.store import Store

POLL_SECONDS = 0.25


async def follow(store: Store, job_id: str, start: int) -> AsyncIterator[ServerSentEvent]:
    """Events with `seq` >= `start`, oldest first, until the job has ended and all are sent."""
    while True:
        ended, events = await run_sync(_look, store, job_id, start)
        for event in events:
            shown = EventObject.of(event, job_id)
            yield ServerSentEvent(shown.model_dump_json(), event=event.type, id=shown.id)
        if events:
            start = events[-1].seq + 1
        elif ended:
            return
        else:
            await anyio.sleep(POLL_SECONDS)


def _look(store: Store, job_id: str, start: int) -> tuple[bool, list[Event]]:
    # The state first: once it is terminal, whatever there is to read is already written.
    ended = store.get_job(job_id).state.terminal
    return ended, store.events(job_id, start=start)
