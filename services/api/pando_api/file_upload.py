"""Receiving a file: from the socket straight into storage."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import Request

from pando_api.errors import TooLarge
from pando_api.form_stream import copy_file, refuse_announced
from pando_api.kept_files import keep_file
from pando_api.multipart import MultipartForm
from pando_api.services import Services
from pando_shared import layout
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.records import FileRecord
from pando_shared.settings import MIB

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
    refusal = too_large(limit)
    refuse_announced(request, limit, refusal)
    form = MultipartForm(request.headers.get("content-type", ""))
    file_id = new_id("file")
    storage = services.storage
    try:
        writing = storage.writing(layout.file_content(file_id))
        async with contextmanager_in_threadpool(writing) as stream:
            size = await copy_file(request, form, stream, limit, refusal)
            received = _check(form, size)
        record = FileRecord(
            file_id,
            tenant,
            received.filename,
            received.purpose,
            received.bytes,
            services.clock.now(),
        )
        await run_in_threadpool(keep_file, services, record)
    except BaseException:
        await run_in_threadpool(storage.delete, layout.file(file_id))
        raise
    return record


def _check(form: MultipartForm, size: int) -> _Received:
    if form.filename is None:
        raise InvalidRequest("the form holds no file in the field 'file'", param="file")
    purpose = checked_purpose(form.fields.get("purpose"))
    if size == 0:
        raise InvalidRequest(f"the file {form.filename!r} is empty", param="file")
    return _Received(checked_filename(form.filename), purpose, size)


def checked_purpose(purpose: str | None) -> str:
    """Raises InvalidRequest if it is none that a user may give a file."""
    if purpose != "fine-tune":
        given = "it is missing" if purpose is None else f"got {purpose!r}"
        raise InvalidRequest(f"purpose must be 'fine-tune'; {given}", param="purpose")
    return purpose


def checked_filename(name: str, param: str = "file") -> str:
    """A name that is only a name. Bytes without a name ("upload", as clients call them) may pass.

    Raises:
        InvalidRequest: a path, a control character, too long, or not `.jsonl`.
    """
    if "/" in name or "\\" in name or name in (".", "..") or _CONTROL.search(name):
        raise InvalidRequest(
            f"the file name {name!r} must be a plain name without a path or control characters",
            param=param,
        )
    if not 1 <= len(name) <= 255:
        raise InvalidRequest(
            f"the file name must have 1 to 255 characters, got {len(name)}", param=param
        )
    if "." in name and not name.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"training data must be a .jsonl file (one JSON object a line), got {name!r}",
            param=param,
        )
    return name


def too_large(limit: int, param: str = "file") -> TooLarge:
    """The refusal of a file of more than `limit` bytes."""
    return TooLarge(
        f"the file is larger than the {limit} bytes ({limit / MIB:g} MiB) accepted; "
        "split it, or raise PANDO_MAX_UPLOAD_BYTES",
        param=param,
        code="file_too_large",
    )
