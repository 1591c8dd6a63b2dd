"""Redis's clock, which all processes of a cluster share, without asking Redis each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from pando_shared.errors import Unavailable

#: Seconds by which Redis's clock must be off what was expected to count as set anew.
JUMP_SECONDS = 2.0
#: An answer that took longer tells the time too vaguely: half of this is its error.
LONGEST_ROUND_TRIP_SECONDS = 1.0


def time_of(url: str) -> Callable[[], float]:
    """Asks a Redis for its time. It raises Unavailable after a second or two without an answer."""
    redis = Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 1),
        socket_timeout=LONGEST_ROUND_TRIP_SECONDS,
        socket_connect_timeout=LONGEST_ROUND_TRIP_SECONDS,
    )

    def redis_time() -> float:
        try:
            answer: Any = redis.time()
        except RedisError as error:
            raise Unavailable(f"Redis does not tell the time: {error}") from error
        seconds, microseconds = answer
        return int(seconds) + int(microseconds) / 1e6

    return redis_time


class RedisClock:
    """`JumpingClock` that goes by Redis's time and, from one look at it to the next, by its own.

    It looks every `sync_seconds`, within a call of `now`; calls of other threads do not wait for
    that. Where Redis is away it goes on alone. It never goes back, but stands still while it is
    ahead; only where Redis's clock was set (by more than `JUMP_SECONDS`) it follows at once in
    either direction. The local wall clock does not matter.

    Args:
        redis_time: Redis's time in seconds; raises Unavailable. See `time_of`.
        monotonic: local seconds that never jump.
    """

    def __init__(
        self,
        redis_time: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        sync_seconds: float = 10.0,
    ):
        self._redis_time = redis_time
        self._monotonic = monotonic
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        #: Redis's time less the monotonic one. None: Redis was never reached.
        self._offset: float | None = None
        self._sync_at = 0.0
        self._latest = 0.0
        self._jumped_at: float | None = None

    @property
    def jumped_at(self) -> float | None:
        return self._jumped_at

    def now(self) -> float:
        """Raises Unavailable only if Redis was never reached."""
        if self._offset is None:
            with self._syncing:
                if self._offset is None:
                    self._sync()
        elif self._monotonic() >= self._sync_at and self._syncing.acquire(blocking=False):
            try:
                self._try_sync()
            finally:
                self._syncing.release()
        with self._lock:
            assert self._offset is not None
            self._latest = max(self._latest, self._monotonic() + self._offset)
            return self._latest

    def _try_sync(self) -> None:
        try:
            self._sync()
        except Unavailable:
            self._sync_at = self._monotonic() + self._sync_seconds

    def _sync(self) -> None:
        asked = self._monotonic()
        told = self._redis_time()
        answered = self._monotonic()
        self._sync_at = answered + self._sync_seconds
        if self._offset is not None and answered - asked > LONGEST_ROUND_TRIP_SECONDS:
            return
        offset = told - (asked + answered) / 2
        with self._lock:
            if self._offset is not None and abs(offset - self._offset) > JUMP_SECONDS:
                self._latest = self._jumped_at = answered + offset
            self._offset = offset
