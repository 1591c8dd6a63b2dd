"""What an API process does beside answering: webhooks, and clearing away what is left behind."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from pando_api.services import Services
from pando_api.stored_recount import recount_for_ever
from pando_api.uploads import remove_leftovers
from pando_api.webhook_delivery import deliver_for_ever
from pando_shared.unfinished_writes import clear_unfinished

log = logging.getLogger(__name__)

#: Parts that nobody completed are deleted this long after their hour, at most.
_CLEAR_SECONDS = 600.0
#: Unfinished writes are looked for so many times less often: all of storage is walked.
_UNFINISHED_EVERY = 36


@asynccontextmanager
async def while_serving(app: FastAPI) -> AsyncIterator[None]:
    """Runs it all. Several processes may: they share the webhooks, and clear away the same."""
    services: Services = app.state.services
    tasks = [
        asyncio.create_task(deliver_for_ever(services)),
        asyncio.create_task(clear_for_ever(services)),
        asyncio.create_task(recount_for_ever(services)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def clear_for_ever(
    services: Services,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    file_time: Callable[[], float] = time.time,
) -> None:
    """Delete what uploads and writers that were killed have left, again and again, until
    cancelled. `file_time` is the clock of storage's file system."""
    for turn in itertools.count():
        await sleep(_CLEAR_SECONDS)
        try:
            await run_in_threadpool(remove_leftovers, services)
            if turn % _UNFINISHED_EVERY == 0:
                await run_in_threadpool(clear_unfinished, services.storage, file_time())
        except Exception:
            log.exception("what uploads and killed writers left cannot be cleared away now")
