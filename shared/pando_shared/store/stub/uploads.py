"""Uploads in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pando_shared.clock import Clock
from pando_shared.errors import NotFound
from pando_shared.store.base import UPLOAD_RECORD_SECONDS
from pando_shared.uploads import Upload


class StubUploads:
    """The part of `StubStore` that knows uploads."""

    def __init__(self, lock: threading.RLock, clock: Clock):
        self._lock = lock
        self._clock = clock
        self._uploads: dict[str, tuple[Upload, float]] = {}

    def put_upload(self, upload: Upload) -> None:
        with self._lock:
            self._uploads[upload.id] = upload, self._clock.now()

    def get_upload(self, upload_id: str) -> Upload:
        with self._lock:
            upload, at = self._uploads.get(upload_id, (None, 0.0))
            if upload is None or self._clock.now() - at >= UPLOAD_RECORD_SECONDS:
                raise NotFound(f"no such upload: {upload_id}")
            return upload

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        with self._lock:
            changed = change(self.get_upload(upload_id))
            self.put_upload(changed)
            return changed
