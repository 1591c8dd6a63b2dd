"""How many requests tenants may still make, and wrong keys addresses try, in memory."""

from __future__ import annotations

import threading

from pando_shared.store.login_slots import login_slot
from pando_shared.store.values import Taken


class StubRequestBuckets:
    """The part of `StubStore` that counts requests."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        #: Of tenants by name, of addresses by slot: what was left, and when.
        self._buckets: dict[str | int, tuple[float, float]] = {}

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        return self._take(tenant, per_minute, now)

    def take_failed_login(self, address: str, per_minute: int, now: float) -> Taken:
        return self._take(login_slot(address), per_minute, now)

    def requests_left(self, tenant: str, per_minute: int, now: float) -> float:
        return self._left(tenant, per_minute, now)

    def _take(self, bucket: str | int, per_minute: int, now: float) -> Taken:
        with self._lock:
            left = self._left(bucket, per_minute, now)
            _, at = self._buckets.get(bucket, (left, now))
            taken = left >= 1
            left -= taken
            self._buckets[bucket] = (left, max(at, now))
            return Taken(taken, left)

    def _left(self, bucket: str | int, per_minute: int, now: float) -> float:
        with self._lock:
            left, at = self._buckets.get(bucket, (float(per_minute), now))
            return min(left + max(0.0, now - at) * per_minute / 60, per_minute)
