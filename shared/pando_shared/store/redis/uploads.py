"""Uploads in Redis: a key each, which expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.store.base import UPLOAD_RECORD_SECONDS
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import transact
from pando_shared.uploads import Upload


class RedisUploads:
    """The part of `RedisStore` that knows uploads."""

    def __init__(self, redis: Redis):
        self._redis = redis

    def put_upload(self, upload: Upload) -> None:
        self._redis.set(keys.upload(upload.id), encode(upload), ex=UPLOAD_RECORD_SECONDS)

    def get_upload(self, upload_id: str) -> Upload:
        return _found(upload_id, self._redis.get(keys.upload(upload_id)))

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        key = keys.upload(upload_id)

        def body(pipe: Pipeline) -> Upload:
            changed = change(_found(upload_id, pipe.get(key)))
            pipe.multi()
            pipe.set(key, encode(changed), ex=UPLOAD_RECORD_SECONDS)
            return changed

        return transact(self._redis, [key], body)


def _found(upload_id: str, text: Any) -> Upload:
    if text is None:
        raise NotFound(f"no such upload: {upload_id}")
    return decode(Upload, text)
