"""A form's file on its way into storage, with a few chunks in memory at most."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from pando_api.errors import TooLarge
from pando_api.multipart import MultipartForm
from pando_shared.errors import InvalidRequest
from pando_shared.settings import MIB

#: Bytes gathered before a thread is asked to write them.
_WRITE_BYTES = 1 * MIB
#: Takes pieces of a file, and its size with them; called in a thread, one call after the other.
Sink = Callable[[list[bytes], int], None]

#: What a form may hold beside the file itself.
_FORM_BYTES = 1 * MIB


def refuse_announced(request: Request, limit: int, refusal: TooLarge) -> int:
    """Raises `refusal`, before anything is read, if the body is announced to be too long.

    Returns how many bytes its file has at least, by that announcement.
    """
    announced = request.headers.get("content-length", "0")
    least = int(announced) - _FORM_BYTES if announced.isdecimal() else 0
    if least > limit:
        raise refusal
    return max(1, least)


async def copy_file(
    request: Request, form: MultipartForm, write: Sink, limit: int, refusal: TooLarge
) -> int:
    """Hand the form's file to `write`; returns its size in bytes.

    Raises `refusal` beyond `limit`, InvalidRequest if there is too much around the file: headers
    and names of fields stay in memory, and a body in chunks announces no length. What `write`
    raises passes through.
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
            await run_in_threadpool(write, pending, size)
            pending, pending_bytes = [], 0
    form.finish()
    await run_in_threadpool(write, pending, size)
    return size
