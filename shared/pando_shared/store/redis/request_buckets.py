"""How many requests tenants may still make, in Redis: one bucket for all API processes."""

from __future__ import annotations

from redis import Redis

from pando_shared.store.base import Taken
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script


class RedisRequestBuckets:
    """The part of `RedisStore` that counts requests."""

    def __init__(self, redis: Redis):
        self._take_request = redis.register_script(script("take_request"))

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        left, taken = self._take_request(keys=[keys.requests(tenant)], args=[per_minute, now])
        return Taken(taken == 1, float(left))
