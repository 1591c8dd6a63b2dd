"""How many requests tenants may still make, in Redis, and how many wrong keys an address may try:
one bucket for all API processes."""

from __future__ import annotations

from typing import Any

from redis import Redis

from pando_shared.store.login_slots import login_slot
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script
from pando_shared.store.values import Taken


class RedisRequestBuckets:
    """The part of `RedisStore` that counts requests."""

    def __init__(self, redis: Redis):
        self._redis = redis
        self._take_request = redis.register_script(script("take_request"))

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        return self._take(keys.requests(tenant), per_minute, now)

    def take_failed_login(self, address: str, per_minute: int, now: float) -> Taken:
        return self._take(keys.failed_logins(login_slot(address)), per_minute, now)

    def requests_left(self, tenant: str, per_minute: int, now: float) -> float:
        kept: Any = self._redis.hmget(keys.requests(tenant), "tokens", "at")
        if kept[0] is None:
            return float(per_minute)
        left, at = map(float, kept)
        return min(left + max(0.0, now - at) * per_minute / 60, per_minute)

    def _take(self, bucket: str, per_minute: int, now: float) -> Taken:
        left, taken = self._take_request(keys=[bucket], args=[per_minute, now])
        return Taken(taken == 1, float(left))
