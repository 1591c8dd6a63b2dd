"""`RedisStore`, put together from its parts."""

from __future__ import annotations

from pando_shared.clock import Clock, SystemClock
from pando_shared.store.redis.client import connect, reports_outages
from pando_shared.store.redis.jobs import RedisJobs
from pando_shared.store.redis.knowledge import RedisKnowledge
from pando_shared.store.redis.leadership import RedisLeadership
from pando_shared.store.redis.request_buckets import RedisRequestBuckets
from pando_shared.store.redis.samples import RedisSamples
from pando_shared.store.redis.signals import RedisSignals
from pando_shared.store.redis.uploads import RedisUploads
from pando_shared.store.redis.workers import RedisWorkers
from pando_shared.store.values import CHANGES_KEPT


@reports_outages
class RedisStore(
    RedisJobs,
    RedisRequestBuckets,
    RedisUploads,
    RedisWorkers,
    RedisSamples,
    RedisKnowledge,
    RedisLeadership,
    RedisSignals,
):
    """`Store` in Redis (6.2 or later). Every key is described in `keys`.

    A compound change is one transaction (WATCH, MULTI, EXEC) or one script. A connection that
    breaks is made anew and its command repeated; after about ten seconds of that a method raises
    `Unavailable`.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, changes_kept: int = CHANGES_KEPT):
        redis = connect(url)
        RedisJobs.__init__(self, redis, changes_kept)
        RedisLeadership.__init__(self, redis)
        RedisRequestBuckets.__init__(self, redis)
        RedisSamples.__init__(self, redis, clock or SystemClock())

    def close(self) -> None:
        """Give the connections back. Using the store again opens new ones."""
        self._redis.close()
