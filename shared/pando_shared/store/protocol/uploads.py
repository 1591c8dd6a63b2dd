"""Files that arrive in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pando_shared.uploads import Upload


class UploadStore(Protocol):
    """The part of `Store` that knows uploads. The bytes of their parts are in storage."""

    def put_upload(self, upload: Upload) -> None:
        """Uploads vanish a day after the last change."""
        ...

    def create_upload(self, upload: Upload, idempotency_key: str) -> Upload:
        """`put_upload`, or the upload that a create with this key made (within a day, same
        tenant)."""
        ...

    def upload_created_with(self, tenant: str, idempotency_key: str) -> Upload | None:
        """The upload that a create with this key would return instead of a new one."""
        ...

    def get_upload(self, upload_id: str) -> Upload:
        """Raises NotFound."""
        ...

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        """Replace an upload by `change(upload)`, atomically. `change` may run several times.

        Whatever `change` raises passes through and nothing is written. Raises NotFound.
        """
        ...
