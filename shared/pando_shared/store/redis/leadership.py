"""Which of several schedulers leads, in Redis: a key that its holder renews and that expires."""

from __future__ import annotations

from typing import Any

from redis import Redis

from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script


class RedisLeadership:
    """The part of `RedisStore` that knows the leader."""

    def __init__(self, redis: Redis):
        self._redis = redis
        self._lead = redis.register_script(script("lead"))
        self._step_down = redis.register_script(script("step_down"))

    def lead(self, candidate: str, seconds: float) -> bool:
        milliseconds = max(1, round(seconds * 1000))
        return bool(self._lead(keys=[keys.LEADER], args=[candidate, milliseconds]))

    def step_down(self, candidate: str) -> None:
        self._step_down(keys=[keys.LEADER], args=[candidate])

    def leader(self) -> str | None:
        name: Any = self._redis.get(keys.LEADER)
        return None if name is None else name.decode()
