"""How many requests tenants may still make, in memory."""

from __future__ import annotations

import threading

from pando_shared.store.base import Taken


class StubRequestBuckets:
    """The part of `StubStore` that counts requests."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        with self._lock:
            left, at = self._buckets.get(tenant, (float(per_minute), now))
            left = min(left + max(0.0, now - at) * per_minute / 60, per_minute)
            taken = left >= 1
            left -= taken
            self._buckets[tenant] = (left, max(at, now))
            return Taken(taken, left)
