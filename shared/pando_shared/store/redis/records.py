"""Files, models and API keys in Redis: a hash each, so a tenant's are apart by construction."""

from __future__ import annotations

from typing import Any

from redis import Redis

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.records import ApiKey, FileRecord, ModelRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.redis import keys


class RedisRecords:
    """The part of `RedisStore` that knows files, models and keys."""

    def __init__(self, redis: Redis):
        self._redis = redis

    def put_file(self, record: FileRecord) -> None:
        self._redis.hset(keys.files(record.tenant), record.id, encode(record))

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        text: Any = self._redis.hget(keys.files(tenant), file_id)
        if text is None:
            raise NotFound(f"no such file: {file_id}")
        return decode(FileRecord, text)

    def list_files(self, tenant: str) -> list[FileRecord]:
        texts: Any = self._redis.hvals(keys.files(tenant))
        return newest_first(decode(FileRecord, text) for text in texts)

    def delete_file(self, tenant: str, file_id: str) -> None:
        if not self._redis.hdel(keys.files(tenant), file_id):
            raise NotFound(f"no such file: {file_id}")

    def put_model(self, record: ModelRecord) -> None:
        self._redis.hset(keys.models(record.tenant), record.name, encode(record))

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        text: Any = self._redis.hget(keys.models(tenant), name)
        if text is None:
            raise NotFound(f"no such model: {name}")
        return decode(ModelRecord, text)

    def list_models(self, tenant: str) -> list[ModelRecord]:
        texts: Any = self._redis.hvals(keys.models(tenant))
        return newest_first(decode(ModelRecord, text) for text in texts)

    def delete_model(self, tenant: str, name: str) -> None:
        if not self._redis.hdel(keys.models(tenant), name):
            raise NotFound(f"no such model: {name}")

    def put_key(self, key: ApiKey) -> None:
        self._redis.hset(keys.KEYS, key.digest, encode(key))

    def find_key(self, digest: str) -> ApiKey | None:
        text: Any = self._redis.hget(keys.KEYS, digest)
        key = None if text is None else decode(ApiKey, text)
        return key if key is not None and key.revoked_at is None else None

    def list_keys(self) -> list[ApiKey]:
        texts: Any = self._redis.hvals(keys.KEYS)
        return oldest_first(decode(ApiKey, text) for text in texts)
