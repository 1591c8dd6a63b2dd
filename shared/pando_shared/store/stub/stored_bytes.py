"""How much tenants keep in storage, in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from pando_shared.stored_bytes import Hold, StoredBytes, StoredThing


class StubStoredBytes:
    """The part of `StubStore` that counts bytes in storage."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        #: Bytes, and until when they count; None: until they are set to 0.
        self._stored: dict[tuple[str, StoredThing], tuple[int, float | None]] = {}

    def hold_bytes(
        self, tenant: str, thing: StoredThing, size: int, *, most: int, now: float, until: float
    ) -> Hold:
        with self._lock:
            stored = self.stored_bytes(tenant, now)
            grown = size - self._stored.get((tenant, thing), (0, None))[0]
            if grown > 0 and stored.total + grown > most:
                return Hold(False, stored)
            self._count_bytes(tenant, {thing: size}, until)
            return Hold(True, self.stored_bytes(tenant, now))

    def release_bytes(self, tenant: str, thing: StoredThing) -> None:
        self._count_bytes(tenant, {thing: 0})

    def stored_bytes(self, tenant: str, now: float) -> StoredBytes:
        with self._lock:
            sums: Counter[str] = Counter()
            for (owner, thing), (size, until) in list(self._stored.items()):
                if owner == tenant and until is not None and until <= now:
                    del self._stored[owner, thing]
                elif owner == tenant:
                    sums[thing.kind.value] += size
            return StoredBytes.of(sums)

    def _count_bytes(
        self, tenant: str, sizes: Mapping[StoredThing, int], until: float | None = None
    ) -> None:
        with self._lock:
            for thing, size in sizes.items():
                self._stored.pop((tenant, thing), None)
                if size:
                    self._stored[tenant, thing] = size, until
