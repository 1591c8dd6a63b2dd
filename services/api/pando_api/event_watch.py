"""One look at the store for all event streams of this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from anyio.to_thread import run_sync

from pando_shared.store import EventStore
from pando_shared.store.values import Told

#: The pause between two looks.
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Wait:
    """Somebody knows a job's first `seen` events."""

    job_id: str
    seen: int


class EventWatch:
    """Wakes whoever waits for a job's next event. Looks only while somebody waits, and asks for all
    their jobs at once, so that a stream where nothing happens costs no thread and no request."""

    def __init__(self, store: EventStore):
        self._store = store
        self._waiting: dict[asyncio.Future[Told], _Wait] = {}
        self._looking: asyncio.Task[None] | None = None

    async def news(self, job_id: str, seen: int) -> Told:
        """Wait until a job has had more than `seen` events, or has ended.

        Raises what the store does, e.g. Unavailable.
        """
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = _Wait(job_id, seen)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_awaited())
        try:
            return await answer
        finally:
            del self._waiting[answer]

    async def _look_while_awaited(self) -> None:
        while self._waiting:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Answer those for whose jobs there is news."""
        asked = sorted({wait.job_id for wait in self._waiting.values()})
        try:
            told = dict(zip(asked, await run_sync(self._store.told, asked), strict=True))
        except Exception as error:
            # Theirs to hear: nobody awaits this task, and nobody may wait for ever.
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        for answer, wait in self._waiting.items():
            found = told.get(wait.job_id)
            if found is None or answer.done():
                continue
            if found.ended or found.events > wait.seen:
                answer.set_result(found)
