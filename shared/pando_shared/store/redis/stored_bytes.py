"""How much tenants keep in storage, in Redis: moved in the transactions that write the records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script
from pando_shared.stored_bytes import Hold, StoredBytes, StoredThing


class RedisStoredBytes:
    """The part of `RedisStore` that counts bytes in storage."""

    def __init__(self, redis: Redis):
        self._redis = redis
        self._count_source = script("count_bytes")
        self._count = redis.register_script(self._count_source)

    def hold_bytes(
        self, tenant: str, thing: StoredThing, size: int, *, most: int, now: float, until: float
    ) -> Hold:
        return self._counted(tenant, [repr(now), most, repr(until), str(thing), size])

    def release_bytes(self, tenant: str, thing: StoredThing) -> None:
        self._counted(tenant, ["", "", "", str(thing), 0])

    def stored_bytes(self, tenant: str, now: float) -> StoredBytes:
        return self._counted(tenant, [repr(now), "", ""]).stored

    def _counted(self, tenant: str, arguments: list[str | int]) -> Hold:
        found: Any = self._count(keys=keys.stored_bytes(tenant), args=arguments)
        taken, sums = found
        texts = [text.decode() for text in sums]
        by_kind = dict(zip(texts[::2], map(int, texts[1::2]), strict=True))
        return Hold(taken == 1, StoredBytes.of(by_kind))

    def _count_bytes(
        self,
        pipe: Pipeline,
        tenant: str,
        sizes: Mapping[StoredThing, int],
        until: float | None = None,
    ) -> None:
        """Have these things count so much from the transaction on that writes their records."""
        if not sizes:
            return
        pairs = [word for thing, size in sizes.items() for word in (str(thing), size)]
        stored = keys.stored_bytes(tenant)
        ends = "" if until is None else repr(until)
        # With its source, the script needs no round trip that loads it first.
        pipe.eval(self._count_source, len(stored), *stored, "", "", ends, *pairs)
