"""Receiving a part of an upload: from the socket straight into storage."""

from __future__ import annotations

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import Request

from pando_api.errors import TooLarge
from pando_api.form_stream import copy_file, refuse_announced
from pando_api.multipart import MultipartForm
from pando_api.services import Services
from pando_api.uploads import own_upload
from pando_shared import layout
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.settings import MIB
from pando_shared.stored_bytes import part_thing
from pando_shared.uploads import Upload, UploadPart

#: What the stock client makes of a file, unless told otherwise.
MAX_PART_BYTES = 64 * MIB
_FIELD = "data"


async def receive_part(
    request: Request, services: Services, tenant: str, upload_id: str
) -> UploadPart:
    """Store the request's part and add it to the upload. Nothing is left if anything is wrong.

    Raises:
        NotFound: no such upload of this tenant.
        IllegalTransition: the upload has ended, perhaps while the part was on its way.
        InvalidRequest: the form, an empty part, or more parts than the upload may have.
        TooLarge: more than 64 MiB, or than the whole file is to have.
        StorageQuotaExceeded: more than the tenant may still keep.
    """
    upload = await run_in_threadpool(_pending_upload, services, tenant, upload_id)
    refusal = _too_large(upload)
    limit = min(MAX_PART_BYTES, upload.bytes)
    least = refuse_announced(request, limit, refusal)
    await run_in_threadpool(services.storage_quota.require_room, tenant, least)
    form = MultipartForm(request.headers.get("content-type", ""), _FIELD)
    part_id = new_id("part", "_")
    hold = services.storage_quota.hold(tenant, part_thing(part_id))
    path = layout.upload_part(upload.id, part_id)
    try:
        writing = services.storage.writing(path)
        async with contextmanager_in_threadpool(writing) as stream:

            def write(pieces: list[bytes], size: int) -> None:
                hold.cover(size)
                stream.writelines(pieces)

            size = await copy_file(request, form, write, limit, refusal)
            _check(form, size)
        return await run_in_threadpool(_add, services, upload, part_id, size)
    except FileNotFoundError:
        # The upload ended meanwhile, and took the folder along that was being written to.
        await run_in_threadpool(hold.release)
        await run_in_threadpool(_pending_upload, services, tenant, upload_id)
        raise
    except BaseException:
        await run_in_threadpool(services.storage.delete, path)
        await run_in_threadpool(hold.release)
        raise


def _pending_upload(services: Services, tenant: str, upload_id: str) -> Upload:
    upload = own_upload(services, tenant, upload_id)
    upload.require_pending(services.clock.now())
    return upload


def _add(services: Services, upload: Upload, part_id: str, size: int) -> UploadPart:
    now = services.clock.now()
    part = UploadPart(part_id, size, now)
    services.store.update_upload(upload.id, lambda upload: upload.with_part(part, now))
    return part


def _check(form: MultipartForm, size: int) -> None:
    if form.filename is None:
        raise InvalidRequest(f"the form holds no bytes in the field {_FIELD!r}", param=_FIELD)
    if size == 0:
        raise InvalidRequest("the part is empty; send at least one byte", param=_FIELD)


def _too_large(upload: Upload) -> TooLarge:
    if upload.bytes < MAX_PART_BYTES:
        message = (
            f"the part has more than the {upload.bytes} bytes announced for the whole file; "
            "announce the file's own size when creating the upload"
        )
    else:
        message = f"the part has more than {MAX_PART_BYTES} bytes (64 MiB); split it"
    return TooLarge(message, param=_FIELD, code="part_too_large")
