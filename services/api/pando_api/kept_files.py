"""A file as it is kept: its record in storage and in the store, its bytes in storage."""

from __future__ import annotations

from pando_api.services import Services
from pando_shared import layout
from pando_shared.codec import encode
from pando_shared.records import FileRecord


def keep_file(
    services: Services, record: FileRecord, idempotency_key: str | None = None
) -> FileRecord:
    """Storage first, so that `pando recover` finds every file that a user was told of.

    Returns the file that was made with this key before, if one was: then the store keeps this one
    not, and its caller removes it from storage.
    """
    services.storage.write(layout.file_record(record.id), encode(record))
    if idempotency_key is not None:
        return services.store.create_file(record, idempotency_key)
    services.store.put_file(record)
    return record


def remove_file(services: Services, record: FileRecord) -> None:
    """Raises NotFound if the store has it no more."""
    # The durable record goes first, so that `pando recover` cannot bring a deleted file back.
    services.storage.delete(layout.file_record(record.id))
    services.store.delete_file(record.tenant, record.id)
    services.storage.delete(layout.file(record.id))
