"""Uploads in Redis: a key each, which expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import transact
from pando_shared.store.redis.stored_bytes import RedisStoredBytes
from pando_shared.store.values import IDEMPOTENCY_SECONDS, UPLOAD_RECORD_SECONDS
from pando_shared.uploads import Upload


class RedisUploads(RedisStoredBytes):
    """The part of `RedisStore` that knows uploads."""

    def __init__(self, redis: Redis):
        RedisStoredBytes.__init__(self, redis)
        self._redis = redis

    def put_upload(self, upload: Upload) -> None:
        self._redis.set(keys.upload(upload.id), encode(upload), ex=UPLOAD_RECORD_SECONDS)

    def create_upload(self, upload: Upload, idempotency_key: str) -> Upload:
        seen = keys.upload_idempotency(upload.tenant, idempotency_key)

        def body(pipe: Pipeline) -> Upload:
            earlier = _upload(pipe, pipe.get(seen))
            if earlier is not None:
                return earlier
            pipe.multi()
            pipe.set(keys.upload(upload.id), encode(upload), ex=UPLOAD_RECORD_SECONDS)
            pipe.set(seen, upload.id, ex=IDEMPOTENCY_SECONDS)
            return upload

        return transact(self._redis, [seen], body)

    def upload_created_with(self, tenant: str, idempotency_key: str) -> Upload | None:
        return _upload(
            self._redis, self._redis.get(keys.upload_idempotency(tenant, idempotency_key))
        )

    def get_upload(self, upload_id: str) -> Upload:
        return _found(upload_id, self._redis.get(keys.upload(upload_id)))

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        key = keys.upload(upload_id)

        def body(pipe: Pipeline) -> Upload:
            before = _found(upload_id, pipe.get(key))
            changed = change(before)
            pipe.multi()
            pipe.set(key, encode(changed), ex=UPLOAD_RECORD_SECONDS)
            sizes = changed.kept_since(before)
            self._count_bytes(pipe, changed.tenant, sizes, _parts_end(changed))
            return changed

        return transact(self._redis, [key], body)


def _parts_end(upload: Upload) -> float:
    """Until when parts count whose upload is forgotten before anybody has ended it."""
    return upload.created_at + UPLOAD_RECORD_SECONDS


def _upload(redis: Redis, upload_id: Any) -> Upload | None:
    """The upload whose id was found, if one was and it has not been forgotten."""
    text: Any = None if upload_id is None else redis.get(keys.upload(upload_id.decode()))
    return None if text is None else decode(Upload, text)


def _found(upload_id: str, text: Any) -> Upload:
    if text is None:
        raise NotFound(f"no such upload: {upload_id}")
    return decode(Upload, text)
