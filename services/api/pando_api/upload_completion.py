"""Making one file of an upload's parts, once, however often and from wherever that is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pando_api.kept_files import keep_file, remove_file
from pando_api.services import Services
from pando_api.uploads import own_upload, remove_parts
from pando_shared import layout
from pando_shared.errors import IllegalTransition, InvalidRequest, NotFound
from pando_shared.ids import new_id
from pando_shared.records import FileRecord
from pando_shared.settings import MIB
from pando_shared.uploads import Completion, Upload


def complete_upload(
    services: Services, tenant: str, upload_id: str, part_ids: Sequence[str], md5: str | None
) -> Upload:
    """The upload with its file. The same request again, at once or later, gets the same file.

    Raises:
        NotFound: no such upload of this tenant.
        IllegalTransition: it was cancelled, has expired, or was completed with other parts.
        InvalidRequest: parts that are not this upload's or have not the announced size, or an `md5`
            that is not the file's. The upload stays as it is, and may be completed otherwise.
    """
    upload = own_upload(services, tenant, upload_id)
    if upload.status == "pending":
        try:
            return _complete(services, upload, part_ids, md5)
        except (IllegalTransition, NotFound):
            # Another request ended the upload, perhaps an earlier attempt of this very one.
            upload = services.store.get_upload(upload_id)
            if upload.status == "pending":
                raise
    return _completed_before(upload, part_ids, md5, services.clock.now())


def _complete(
    services: Services, upload: Upload, part_ids: Sequence[str], md5: str | None
) -> Upload:
    upload.chosen(part_ids)
    # Each attempt writes a file of its own, so that none overwrites what another has published.
    file = FileRecord(
        new_id("file"),
        upload.tenant,
        upload.filename,
        upload.purpose,
        upload.bytes,
        services.clock.now(),
    )
    try:
        found = _join(services, upload, part_ids, file.id)
        _check_md5(found, md5)
        keep_file(services, file)
    except BaseException:
        services.storage.delete(layout.file(file.id))
        raise
    completion = Completion(file, tuple(part_ids), found)
    # Only now: a process that dies in between leaves a file too many, which its owner sees, and not
    # a completed upload without its file.
    try:
        done = services.store.update_upload(upload.id, lambda upload: upload.completed(completion))
    except (IllegalTransition, NotFound):
        remove_file(services, file)
        raise
    remove_parts(services, upload.id)
    return done


def _join(services: Services, upload: Upload, part_ids: Sequence[str], file_id: str) -> str:
    """Copy the parts into the file, one after the other; returns the whole's MD5."""
    md5 = hashlib.md5(usedforsecurity=False)
    with services.storage.writing(layout.file_content(file_id)) as whole:
        for part_id in part_ids:
            with services.storage.reading(layout.upload_part(upload.id, part_id)) as part:
                while chunk := part.read(MIB):
                    md5.update(chunk)
                    whole.write(chunk)
    return md5.hexdigest()


def _completed_before(
    upload: Upload, part_ids: Sequence[str], md5: str | None, now: float
) -> Upload:
    """An upload that has ended, if it ended just as is asked for now."""
    completion = upload.completion
    if completion is None or completion.part_ids != tuple(part_ids):
        upload.require_pending(now)
    else:
        _check_md5(completion.md5, md5)
    return upload


def _check_md5(found: str, wanted: str | None) -> None:
    if wanted is not None and wanted.lower() != found:
        raise InvalidRequest(
            f"the file of these parts has the MD5 {found}, not {wanted!r}; check the order of "
            "part_ids, or send the parts again",
            param="md5",
        )
