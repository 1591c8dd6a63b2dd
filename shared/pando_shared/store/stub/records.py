"""Files, models and API keys in memory."""

from __future__ import annotations

import threading

from pando_shared.errors import NotFound
from pando_shared.records import ApiKey, FileRecord, ModelRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.stub.request_buckets import StubRequestBuckets


class StubRecords(StubRequestBuckets):
    """The part of `StubStore` that knows files, models and keys."""

    def __init__(self, lock: threading.RLock):
        StubRequestBuckets.__init__(self, lock)
        self._lock = lock
        self._files: dict[tuple[str, str], FileRecord] = {}
        self._models: dict[tuple[str, str], ModelRecord] = {}
        self._keys: dict[str, ApiKey] = {}

    def put_file(self, record: FileRecord) -> None:
        with self._lock:
            self._files[record.tenant, record.id] = record

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
            self.get_file(tenant, file_id)
            del self._files[tenant, file_id]

    def put_model(self, record: ModelRecord) -> None:
        with self._lock:
            self._models[record.tenant, record.name] = record

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
            self.get_model(tenant, name)
            del self._models[tenant, name]

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
