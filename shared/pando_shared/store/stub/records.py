"""Files, models and API keys in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from pando_shared.clock import Clock
from pando_shared.errors import NotFound
from pando_shared.records import ApiKey, FileRecord, ModelRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.stub.request_buckets import StubRequestBuckets
from pando_shared.store.stub.seen_keys import SeenKeys
from pando_shared.store.stub.stored_bytes import StubStoredBytes
from pando_shared.stored_bytes import adapter_thing, file_thing, miscounted


class StubRecords(StubRequestBuckets, StubStoredBytes):
    """The part of `StubStore` that knows files, models and keys."""

    def __init__(self, lock: threading.RLock, clock: Clock):
        StubRequestBuckets.__init__(self, lock)
        StubStoredBytes.__init__(self, lock)
        self._lock = lock
        self._files: dict[tuple[str, str], FileRecord] = {}
        self._file_keys = SeenKeys(clock)
        self._models: dict[tuple[str, str], ModelRecord] = {}
        self._keys: dict[str, ApiKey] = {}

    def put_file(self, record: FileRecord) -> None:
        with self._lock:
            self._files[record.tenant, record.id] = record
            self._count_bytes(record.tenant, {file_thing(record.id): record.bytes})

    def create_file(self, record: FileRecord, idempotency_key: str) -> FileRecord:
        with self._lock:
            earlier = self.file_created_with(record.tenant, idempotency_key)
            if earlier is not None:
                return earlier
            self.put_file(record)
            self._file_keys.remember(record.tenant, idempotency_key, record.id)
            return record

    def file_created_with(self, tenant: str, idempotency_key: str) -> FileRecord | None:
        with self._lock:
            made = self._file_keys.made_with(tenant, idempotency_key)
            return self._files.get((tenant, made or ""))

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        with self._lock:
            if (tenant, file_id) not in self._files:
                raise NotFound(f"no such file: {file_id}")
            return self._files[tenant, file_id]

    def list_files(self, tenant: str) -> list[FileRecord]:
        with self._lock:
            return newest_first(file for file in self._files.values() if file.tenant == tenant)

    def delete_file(self, tenant: str, file_id: str) -> None:
        with self._lock:
            self._count_bytes(tenant, {file_thing(file_id): 0})
            self.get_file(tenant, file_id)
            del self._files[tenant, file_id]

    def put_model(self, record: ModelRecord) -> None:
        with self._lock:
            self._models[record.tenant, record.name] = record
            self._count_bytes(record.tenant, {adapter_thing(record.name): record.bytes})

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        with self._lock:
            if (tenant, name) not in self._models:
                raise NotFound(f"no such model: {name}")
            return self._models[tenant, name]

    def list_models(self, tenant: str) -> list[ModelRecord]:
        with self._lock:
            return newest_first(model for model in self._models.values() if model.tenant == tenant)

    def delete_model(self, tenant: str, name: str) -> None:
        with self._lock:
            self._count_bytes(tenant, {adapter_thing(name): 0})
            self.get_model(tenant, name)
            del self._models[tenant, name]

    def recount_bytes(self, tenant: str, measured: Mapping[str, int]) -> bool:
        with self._lock:
            for model in self.list_models(tenant):
                if not model.bytes and measured.get(model.name):
                    sized = replace(model, bytes=measured[model.name])
                    self._models[tenant, model.name] = sized
            wanted = {file_thing(file.id): file.bytes for file in self.list_files(tenant)}
            wanted |= {adapter_thing(each.name): each.bytes for each in self.list_models(tenant)}
            stored = {thing: at for (owner, thing), at in self._stored.items() if owner == tenant}
            counted = {thing: size for thing, (size, _) in stored.items()}
            held = {thing for thing, (_, until) in stored.items() if until is not None}
            changes = miscounted(counted, held, wanted)
            self._count_bytes(tenant, changes)
            return bool(changes)

    def put_key(self, key: ApiKey) -> None:
        with self._lock:
            self._keys[key.digest] = key

    def find_key(self, digest: str) -> ApiKey | None:
        with self._lock:
            key = self._keys.get(digest)
        return key if key is not None and key.revoked_at is None else None

    def list_keys(self) -> list[ApiKey]:
        with self._lock:
            return oldest_first(self._keys.values())
