"""Samples in Redis: the requests that wait for a worker, and the text that comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis

from pando_shared.clock import Clock
from pando_shared.codec import decode, encode
from pando_shared.store.redis import keys
from pando_shared.store.values import SAMPLE_REQUEST_SECONDS, SAMPLE_TEXT_SECONDS
from pando_shared.workers import SampleChunk


class RedisSamples:
    """The part of `RedisStore` that knows samples."""

    def __init__(self, redis: Redis, clock: Clock):
        self._redis = redis
        self._clock = clock

    def push_sample_chunks(self, sample_id: str, chunks: Sequence[SampleChunk]) -> None:
        if not chunks:
            return
        with self._redis.pipeline() as pipe:
            pipe.rpush(keys.sample(sample_id), *(encode(chunk) for chunk in chunks))
            pipe.expire(keys.sample(sample_id), SAMPLE_TEXT_SECONDS)
            pipe.execute()

    def sample_chunks(self, sample_id: str, start: int) -> list[SampleChunk]:
        texts: Any = self._redis.lrange(keys.sample(sample_id), start, -1)
        return [decode(SampleChunk, text) for text in texts]

    def request_sample(self, worker_id: str, sample_id: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.zadd(keys.samples_waiting(worker_id), {sample_id: self._clock.now()})
            pipe.expire(keys.samples_waiting(worker_id), SAMPLE_REQUEST_SECONDS)
            pipe.execute()

    def samples_waiting(self, worker_id: str) -> int:
        since = self._clock.now() - SAMPLE_REQUEST_SECONDS
        count: Any = self._redis.zcount(keys.samples_waiting(worker_id), since, "+inf")
        return int(count)

    def sample_done(self, worker_id: str, sample_id: str) -> None:
        self._redis.zrem(keys.samples_waiting(worker_id), sample_id)
