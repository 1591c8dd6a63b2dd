"""Uploads in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pando_shared.clock import Clock
from pando_shared.errors import NotFound
from pando_shared.store.stub.seen_keys import SeenKeys
from pando_shared.store.stub.stored_bytes import StubStoredBytes
from pando_shared.store.values import UPLOAD_RECORD_SECONDS
from pando_shared.uploads import Upload


class StubUploads(StubStoredBytes):
    """The part of `StubStore` that knows uploads."""

    def __init__(self, lock: threading.RLock, clock: Clock):
        self._lock = lock
        self._clock = clock
        self._uploads: dict[str, tuple[Upload, float]] = {}
        self._upload_keys = SeenKeys(clock)

    def put_upload(self, upload: Upload) -> None:
        with self._lock:
            self._uploads[upload.id] = upload, self._clock.now()

    def create_upload(self, upload: Upload, idempotency_key: str) -> Upload:
        with self._lock:
            earlier = self.upload_created_with(upload.tenant, idempotency_key)
            if earlier is not None:
                return earlier
            self.put_upload(upload)
            self._upload_keys.remember(upload.tenant, idempotency_key, upload.id)
            return upload

    def upload_created_with(self, tenant: str, idempotency_key: str) -> Upload | None:
        with self._lock, suppress(NotFound):
            return self.get_upload(self._upload_keys.made_with(tenant, idempotency_key) or "")
        return None

    def get_upload(self, upload_id: str) -> Upload:
        with self._lock:
            upload, at = self._uploads.get(upload_id, (None, 0.0))
            if upload is None or self._clock.now() - at >= UPLOAD_RECORD_SECONDS:
                raise NotFound(f"no such upload: {upload_id}")
            return upload

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        with self._lock:
            before = self.get_upload(upload_id)
            changed = change(before)
            self.put_upload(changed)
            ends = changed.created_at + UPLOAD_RECORD_SECONDS
            self._count_bytes(changed.tenant, changed.kept_since(before), ends)
            return changed
