"""Records of the files of tenants."""

from __future__ import annotations

from typing import Protocol

from pando_shared.records import FileRecord


class FileStore(Protocol):
    """The part of `Store` that knows files. Their bytes are in storage."""

    def put_file(self, record: FileRecord) -> None: ...

    def create_file(self, record: FileRecord, idempotency_key: str) -> FileRecord:
        """`put_file`, or the file that a create with this key made (within a day, same tenant), if
        it is there still."""
        ...

    def file_created_with(self, tenant: str, idempotency_key: str) -> FileRecord | None:
        """The file that a create with this key would return instead of a new one."""
        ...

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        """Raises NotFound, also for another tenant's file."""
        ...

    def list_files(self, tenant: str) -> list[FileRecord]:
        """Newest first."""
        ...

    def delete_file(self, tenant: str, file_id: str) -> None:
        """Raises NotFound."""
        ...
