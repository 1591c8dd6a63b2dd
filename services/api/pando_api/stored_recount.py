"""Counting what tenants keep in storage where an older release has not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fastapi.concurrency import run_in_threadpool

from pando_api.services import Services
from pando_shared.errors import NotFound
from pando_shared.storage import Storage

log = logging.getLogger(__name__)

#: While releases run beside each other, the older one goes on writing what it does not count.
_RECOUNT_SECONDS = 3600.0


async def recount_for_ever(
    services: Services, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """`recount` at once, and again and again, until cancelled."""
    while True:
        try:
            await run_in_threadpool(recount, services)
        except Exception:
            log.exception("what tenants keep in storage cannot be counted anew now")
        await sleep(_RECOUNT_SECONDS)


def recount(services: Services) -> None:
    """For every tenant that has, or had, a key. Changes nothing where all is counted already."""
    store = services.store
    for tenant in sorted({key.tenant for key in store.list_keys()}):
        unsized = [model for model in store.list_models(tenant) if not model.bytes]
        measured = {model.name: _folder_bytes(services.storage, model.path) for model in unsized}
        if store.recount_bytes(tenant, measured):
            log.info("what tenant %s keeps in storage was counted anew", tenant)


def _folder_bytes(storage: Storage, path: str) -> int:
    try:
        return sum(storage.size(f"{path}/{name}") for name in storage.walk(path))
    except NotFound:
        return 0  # being deleted just now
