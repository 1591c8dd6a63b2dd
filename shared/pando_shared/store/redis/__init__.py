"""The store in Redis: what the processes of a cluster share."""

from pando_shared.store.redis.store import RedisStore

__all__ = ["RedisStore"]
