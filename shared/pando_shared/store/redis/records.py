"""Files, models and API keys in Redis: a hash each, so a tenant's are apart by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.records import ApiKey, FileRecord, ModelRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import transact
from pando_shared.store.redis.stored_bytes import RedisStoredBytes
from pando_shared.store.values import IDEMPOTENCY_SECONDS
from pando_shared.stored_bytes import StoredThing, adapter_thing, file_thing, miscounted


class RedisRecords(RedisStoredBytes):
    """The part of `RedisStore` that knows files, models and keys."""

    def __init__(self, redis: Redis):
        RedisStoredBytes.__init__(self, redis)
        self._redis = redis

    def put_file(self, record: FileRecord) -> None:
        with self._redis.pipeline() as pipe:
            self._write_file(pipe, record)
            pipe.execute()

    def create_file(self, record: FileRecord, idempotency_key: str) -> FileRecord:
        seen = keys.file_idempotency(record.tenant, idempotency_key)

        def body(pipe: Pipeline) -> FileRecord:
            earlier = _file(pipe, record.tenant, pipe.get(seen))
            if earlier is not None:
                return earlier
            pipe.multi()
            self._write_file(pipe, record)
            pipe.set(seen, record.id, ex=IDEMPOTENCY_SECONDS)
            return record

        return transact(self._redis, [seen], body)

    def file_created_with(self, tenant: str, idempotency_key: str) -> FileRecord | None:
        earlier = self._redis.get(keys.file_idempotency(tenant, idempotency_key))
        return _file(self._redis, tenant, earlier)

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        text: Any = self._redis.hget(keys.files(tenant), file_id)
        if text is None:
            raise NotFound(f"no such file: {file_id}")
        return decode(FileRecord, text)

    def list_files(self, tenant: str) -> list[FileRecord]:
        texts: Any = self._redis.hvals(keys.files(tenant))
        return newest_first(decode(FileRecord, text) for text in texts)

    def delete_file(self, tenant: str, file_id: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.hdel(keys.files(tenant), file_id)
            self._count_bytes(pipe, tenant, {file_thing(file_id): 0})
            deleted, _ = pipe.execute()
        if not deleted:
            raise NotFound(f"no such file: {file_id}")

    def put_model(self, record: ModelRecord) -> None:
        with self._redis.pipeline() as pipe:
            self._write_model(pipe, record)
            pipe.execute()

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        text: Any = self._redis.hget(keys.models(tenant), name)
        if text is None:
            raise NotFound(f"no such model: {name}")
        return decode(ModelRecord, text)

    def list_models(self, tenant: str) -> list[ModelRecord]:
        texts: Any = self._redis.hvals(keys.models(tenant))
        return newest_first(decode(ModelRecord, text) for text in texts)

    def delete_model(self, tenant: str, name: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.hdel(keys.models(tenant), name)
            self._count_bytes(pipe, tenant, {adapter_thing(name): 0})
            deleted, _ = pipe.execute()
        if not deleted:
            raise NotFound(f"no such model: {name}")

    def _write_file(self, pipe: Pipeline, record: FileRecord) -> None:
        pipe.hset(keys.files(record.tenant), record.id, encode(record))
        self._count_bytes(pipe, record.tenant, {file_thing(record.id): record.bytes})

    def _write_model(self, pipe: Pipeline, record: ModelRecord) -> None:
        pipe.hset(keys.models(record.tenant), record.name, encode(record))
        self._count_bytes(pipe, record.tenant, {adapter_thing(record.name): record.bytes})

    def recount_bytes(self, tenant: str, measured: Mapping[str, int]) -> bool:
        things, until, _ = stored = keys.stored_bytes(tenant)

        def body(pipe: Pipeline) -> bool:
            files = [decode(FileRecord, text) for text in pipe.hvals(keys.files(tenant))]
            models = [decode(ModelRecord, text) for text in pipe.hvals(keys.models(tenant))]
            sized = [
                replace(model, bytes=measured.get(model.name, 0))
                for model in models
                if not model.bytes and measured.get(model.name)
            ]
            wanted = {file_thing(file.id): file.bytes for file in files}
            wanted |= {adapter_thing(model.name): model.bytes for model in (*models, *sized)}
            counted = {_thing(text): int(size) for text, size in pipe.hgetall(things).items()}
            held = {_thing(text) for text in pipe.zrange(until, 0, -1)}
            changes = miscounted(counted, held, wanted)
            pipe.multi()
            for model in sized:
                pipe.hset(keys.models(tenant), model.name, encode(model))
            self._count_bytes(pipe, tenant, changes)
            return bool(changes)

        return transact(self._redis, [keys.files(tenant), keys.models(tenant), *stored], body)

    def put_key(self, key: ApiKey) -> None:
        self._redis.hset(keys.KEYS, key.digest, encode(key))

    def find_key(self, digest: str) -> ApiKey | None:
        text: Any = self._redis.hget(keys.KEYS, digest)
        key = None if text is None else decode(ApiKey, text)
        return key if key is not None and key.revoked_at is None else None

    def list_keys(self) -> list[ApiKey]:
        texts: Any = self._redis.hvals(keys.KEYS)
        return oldest_first(decode(ApiKey, text) for text in texts)


def _file(redis: Redis, tenant: str, file_id: Any) -> FileRecord | None:
    """The file whose id was found, if one was and it has not been deleted."""
    text: Any = None if file_id is None else redis.hget(keys.files(tenant), file_id.decode())
    return None if text is None else decode(FileRecord, text)


def _thing(text: Any) -> StoredThing:
    return StoredThing.parse(text.decode())
