"""What an API process does beside answering: webhooks, and what uploads have left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from pando_api.services import Services
from pando_api.uploads import remove_leftovers
from pando_api.webhook_delivery import deliver_for_ever

log = logging.getLogger(__name__)

#: Parts that nobody completed are deleted this long after their hour, at most.
_CLEAR_SECONDS = 600.0


@asynccontextmanager
async def while_serving(app: FastAPI) -> AsyncIterator[None]:
    """Runs it all. Several processes may: they share the webhooks, and clear away the same."""
    services: Services = app.state.services
    tasks = [
        asyncio.create_task(deliver_for_ever(services)),
        asyncio.create_task(clear_for_ever(services)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def clear_for_ever(
    services: Services, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Delete what uploads have left, again and again, until cancelled."""
    while True:
        await sleep(_CLEAR_SECONDS)
        try:
            await run_in_threadpool(remove_leftovers, services)
        except Exception:
            log.exception("parts of uploads cannot be cleared away now")
