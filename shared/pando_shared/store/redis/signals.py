"""Waking the scheduler: a list of at most one token, which it reads blocking."""

from __future__ import annotations

import time

from redis import Redis
from redis.client import Pipeline

from pando_shared.store.redis import keys
from pando_shared.store.redis.client import LONGEST_BLOCK_SECONDS

#: BLPOP of Redis 6 rounds one millisecond, and what is shorter, down to zero: for ever.
SHORTEST_BLOCK_SECONDS = 0.01


def wake(pipe: Pipeline) -> None:
    """Add the token to a transaction."""
    pipe.lpush(keys.WAKE, 1)
    pipe.ltrim(keys.WAKE, 0, 0)


class RedisSignals:
    """The part of `RedisStore` that wakes and waits."""

    def __init__(self, redis: Redis):
        self._redis = redis

    def wake(self) -> None:
        with self._redis.pipeline() as pipe:
            wake(pipe)
            pipe.execute()

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            block = min(max(left, SHORTEST_BLOCK_SECONDS), LONGEST_BLOCK_SECONDS)
            if self._redis.blpop([keys.WAKE], timeout=block) is not None:
                return

    def ping(self) -> bool:
        return bool(self._redis.ping())
