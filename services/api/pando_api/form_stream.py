"""A form's file on its way into storage, with a few chunks in memory at most."""

from __future__ import annotations

from typing import IO

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from pando_api.errors import TooLarge
from pando_api.multipart import MultipartForm
from pando_shared.errors import InvalidRequest
from pando_shared.settings import MIB

#: Bytes gathered before a thread is asked to write them.
_WRITE_BYTES = 1 * MIB
#: What a form may hold beside the file itself.
_FORM_BYTES = 1 * MIB


def refuse_announced(request: Request, limit: int, refusal: TooLarge) -> None:
    """Raises `refusal`, before anything is read, if the body is announced to be too long."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit + _FORM_BYTES:
        raise refusal


async def copy_file(
    request: Request, form: MultipartForm, stream: IO[bytes], limit: int, refusal: TooLarge
) -> int:
    """Write the form's file to `stream`; returns its size in bytes.

    Raises `refusal` beyond `limit`, InvalidRequest if there is too much around the file: headers
    and names of fields stay in memory, and a body in chunks announces no length.
    """
    size = received = 0
    pending: list[bytes] = []
    pending_bytes = 0
    async for chunk in request.stream():
        received += len(chunk)
        for piece in form.feed(chunk):
            pending.append(piece)
            pending_bytes += len(piece)
            size += len(piece)
        if size > limit:
            raise refusal
        if received - size > _FORM_BYTES:
            raise InvalidRequest(
                f"the form holds more than {_FORM_BYTES} bytes beside its file; send only the "
                "fields that the route knows"
            )
        if pending_bytes >= _WRITE_BYTES:
            await run_in_threadpool(stream.writelines, pending)
            pending, pending_bytes = [], 0
    form.finish()
    await run_in_threadpool(stream.writelines, pending)
    return size
