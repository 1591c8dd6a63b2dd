"""The operator's way in: the store and the storage themselves, past the API."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from pando_cli import stack_record
from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.clock import time_of


@dataclass(frozen=True, slots=True)
class Backend:
    """`redis_time` asks for the time by which workers report, which may not be this machine's."""

    store: Store
    storage: Storage
    redis_time: Callable[[], float]


def connect(home: Home) -> Backend:
    """Store and storage of $PANDO_REDIS_URL and $PANDO_STORAGE_URL, else of the home's stack.

    Raises:
        StackError: neither is there, or the store does not answer.
    """
    hint = "Start it with `pando up`, or set PANDO_REDIS_URL and PANDO_STORAGE_URL."
    if "PANDO_REDIS_URL" in os.environ:
        settings = Settings()
    else:
        record = stack_record.running(home)
        if record is None:
            raise StackError(f"no stack is running in {home.root}", hint=hint)
        settings = Settings(
            redis_url=record.environment["PANDO_REDIS_URL"],
            storage_url=record.environment["PANDO_STORAGE_URL"],
        )
    store = RedisStore(settings.redis_url)
    if not store.ping():
        raise StackError("the stack's Redis does not answer", hint=hint)
    return Backend(store, Storage(settings.storage_url), time_of(settings.redis_url))
