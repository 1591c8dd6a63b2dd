"""Receiving a file: from the socket straight into storage, with a few chunks in memory at most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import Request

from pando_api.errors import TooLarge
from pando_api.multipart import MultipartForm
from pando_api.services import Services
from pando_shared import layout
from pando_shared.codec import encode
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.records import FileRecord
from pando_shared.settings import MIB

#: Bytes gathered before a thread is asked to write them.
_WRITE_BYTES = 1 * MIB
#: What a form may hold beside the file itself.
_FORM_BYTES = 1 * MIB
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Received:
    filename: str
    purpose: str
    bytes: int


async def receive_file(request: Request, services: Services, tenant: str) -> FileRecord:
    """Store the request's file and its record. Nothing is left behind if anything is wrong.

    Raises:
        InvalidRequest: the form, the name, the purpose or an empty file.
        TooLarge: more than `settings.max_upload_bytes`; found before reading where announced.
    """
    limit = services.settings.max_upload_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit + _FORM_BYTES:
        raise _too_large(limit)
    form = MultipartForm(request.headers.get("content-type", ""))
    file_id = new_id("file")
    storage = services.storage
    try:
        writing = storage.writing(layout.file_content(file_id))
        async with contextmanager_in_threadpool(writing) as stream:
            size = await _copy(request, form, stream, limit)
            received = _check(form, size)
        record = FileRecord(
            file_id,
            tenant,
            received.filename,
            received.purpose,
            received.bytes,
            services.clock.now(),
        )
        await run_in_threadpool(_keep, services, record)
    except BaseException:
        await run_in_threadpool(storage.delete, layout.file(file_id))
        raise
    return record


async def _copy(request: Request, form: MultipartForm, stream: IO[bytes], limit: int) -> int:
    """Write the form's file to `stream`; returns its size."""
    size = 0
    pending: list[bytes] = []
    pending_bytes = 0
    async for chunk in request.stream():
        for piece in form.feed(chunk):
            pending.append(piece)
            pending_bytes += len(piece)
            size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if pending_bytes >= _WRITE_BYTES:
            await run_in_threadpool(stream.writelines, pending)
            pending, pending_bytes = [], 0
    form.finish()
    await run_in_threadpool(stream.writelines, pending)
    return size


def _check(form: MultipartForm, size: int) -> _Received:
    purpose = form.fields.get("purpose")
    if form.filename is None:
        raise InvalidRequest("the form holds no file in the field 'file'", param="file")
    if purpose != "fine-tune":
        given = "it is missing" if purpose is None else f"got {purpose!r}"
        raise InvalidRequest(f"purpose must be 'fine-tune'; {given}", param="purpose")
    if size == 0:
        raise InvalidRequest(f"the file {form.filename!r} is empty", param="file")
    return _Received(checked_filename(form.filename), purpose, size)


def checked_filename(name: str) -> str:
    """A name that is only a name. Bytes without a name ("upload", as clients call them) may pass.

    Raises:
        InvalidRequest: a path, a control character, too long, or not `.jsonl`.
    """
    if "/" in name or "\\" in name or name in (".", "..") or _CONTROL.search(name):
        raise InvalidRequest(
            f"the file name {name!r} must be a plain name without a path or control characters",
            param="file",
        )
    if not 1 <= len(name) <= 255:
        raise InvalidRequest(
            f"the file name must have 1 to 255 characters, got {len(name)}", param="file"
        )
    if "." in name and not name.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"training data must be a .jsonl file (one JSON object a line), got {name!r}",
            param="file",
        )
    return name


def _keep(services: Services, record: FileRecord) -> None:
    """Storage first, so that `pando recover` finds every file that a user was told of."""
    services.storage.write(layout.file_record(record.id), encode(record))
    services.store.put_file(record)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the file is larger than the {limit} bytes ({limit / MIB:g} MiB) accepted; "
        "split it, or raise PANDO_MAX_UPLOAD_BYTES",
        param="file",
        code="file_too_large",
    )
