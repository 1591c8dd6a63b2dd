"""Receiving a file: from the socket straight into storage, once however often it is sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import Request

from pando_api.file_rules import checked_filename, checked_purpose, too_large
from pando_api.form_stream import Sink, copy_file, refuse_announced
from pando_api.kept_files import keep_file
from pando_api.multipart import MultipartForm
from pando_api.repetition import key_reused
from pando_api.services import Services
from pando_shared import layout
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.records import FileRecord
from pando_shared.stored_bytes import file_thing


@dataclass(frozen=True, slots=True)
class _Received:
    filename: str
    purpose: str
    bytes: int


async def receive_file(
    request: Request, services: Services, tenant: str, idempotency_key: str | None
) -> FileRecord:
    """Store the request's file and its record, or find those that this very request made before.

    Nothing is left behind if anything is wrong.

    Raises:
        InvalidRequest: the form, the name, the purpose or an empty file; or the key came before
            with a different file.
        TooLarge: more than `settings.max_upload_bytes`; found before reading where announced.
        StorageQuotaExceeded: more than the tenant may still keep; likewise.
    """
    limit = services.settings.max_upload_bytes
    least = refuse_announced(request, limit, too_large(limit))
    if idempotency_key is not None:
        find = services.store.file_created_with
        made = await run_in_threadpool(find, tenant, idempotency_key)
        if made is not None:
            await _require_repeated(request, limit, made, idempotency_key)
            return made
    await run_in_threadpool(services.storage_quota.require_room, tenant, least)
    return await _keep(request, services, tenant, idempotency_key)


async def _require_repeated(request: Request, limit: int, made: FileRecord, key: str) -> None:
    """Read what is sent, and write it nowhere: it must be what made the file."""
    sha256 = hashlib.sha256()

    def look(pieces: list[bytes], _: int) -> None:
        for piece in pieces:
            sha256.update(piece)

    received = await _receive(request, limit, look)
    _require_same(made, received, sha256.hexdigest(), key)


async def _keep(
    request: Request, services: Services, tenant: str, idempotency_key: str | None
) -> FileRecord:
    file_id = new_id("file")
    storage = services.storage
    hold = services.storage_quota.hold(tenant, file_thing(file_id))
    # Only what comes with a key will ever be compared.
    sha256 = None if idempotency_key is None else hashlib.sha256()

    def drop() -> None:
        storage.delete(layout.file(file_id))
        hold.release()

    try:
        writing = storage.writing(layout.file_content(file_id))
        async with contextmanager_in_threadpool(writing) as stream:

            def write(pieces: list[bytes], size: int) -> None:
                hold.cover(size)
                for piece in pieces:
                    stream.write(piece)
                    if sha256 is not None:
                        sha256.update(piece)

            received = await _receive(request, services.settings.max_upload_bytes, write)
        record = FileRecord(
            file_id,
            tenant,
            received.filename,
            received.purpose,
            received.bytes,
            services.clock.now(),
            None if sha256 is None else sha256.hexdigest(),
        )
        kept = await run_in_threadpool(keep_file, services, record, idempotency_key)
    except BaseException:
        await run_in_threadpool(drop)
        raise
    if kept.id != file_id:
        # The same request came at the same moment and was faster.
        await run_in_threadpool(drop)
        _require_same(kept, received, record.sha256, idempotency_key)
    return kept


async def _receive(request: Request, limit: int, write: Sink) -> _Received:
    form = MultipartForm(request.headers.get("content-type", ""))
    size = await copy_file(request, form, write, limit, too_large(limit))
    if form.filename is None:
        raise InvalidRequest("the form holds no file in the field 'file'", param="file")
    purpose = checked_purpose(form.fields.get("purpose"))
    if size == 0:
        raise InvalidRequest(f"the file {form.filename!r} is empty", param="file")
    return _Received(checked_filename(form.filename), purpose, size)


def _require_same(
    made: FileRecord, received: _Received, sha256: str | None, key: str | None
) -> None:
    """Raises InvalidRequest if the key came before with another name, purpose or content."""
    if made.sha256 != sha256 or received != _Received(made.filename, made.purpose, made.bytes):
        raise key_reused(key, f"file {made.id}")
