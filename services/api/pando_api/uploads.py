"""The life of an upload: created, then cancelled or expired, and what of it is left behind.

An upload's record lives in the store, not beside its parts in storage: parts arrive, and the upload
ends, in several API processes at once, and only the store can change a record atomically. The list
of parts is in that record too. A part that is too late is refused by the same comparison that would
have added it, and who completes or cancels first is decided once. Should Redis lose the record, the
parts are bytes of nobody, which `remove_leftovers` deletes.
"""

from __future__ import annotations

from pando_api.file_rules import checked_filename, checked_purpose, too_large
from pando_api.repetition import key_reused
from pando_api.schemas.uploads import UploadCreate
from pando_api.services import Services
from pando_shared import layout
from pando_shared.errors import NotFound
from pando_shared.ids import new_id
from pando_shared.uploads import Upload


def create_upload(
    services: Services, tenant: str, wanted: UploadCreate, idempotency_key: str | None
) -> Upload:
    """Keep a new upload, and clear away what earlier ones, of any tenant, have left; or find, as it
    is by now, the one that this very request made before.

    Raises:
        InvalidRequest: the name or the purpose; or the key came before with another upload.
        TooLarge: more than `settings.max_upload_bytes`.
        StorageQuotaExceeded: more than the tenant may still keep.
    """
    limit = services.settings.max_upload_bytes
    if wanted.bytes > limit:
        raise too_large(limit, param="bytes")
    upload = Upload(
        new_id("upload", "_"),
        tenant,
        checked_filename(wanted.filename, param="filename"),
        checked_purpose(wanted.purpose),
        wanted.bytes,
        services.clock.now(),
    )
    remove_leftovers(services)
    if idempotency_key is None:
        services.storage_quota.require_room(tenant, wanted.bytes)
        services.store.put_upload(upload)
        return upload
    made = services.store.upload_created_with(tenant, idempotency_key)
    if made is None:
        services.storage_quota.require_room(tenant, wanted.bytes)
        made = services.store.create_upload(upload, idempotency_key)
    if not made.announced_as(upload):
        raise key_reused(idempotency_key, f"upload {made.id}")
    return own_upload(services, tenant, made.id)


def own_upload(services: Services, tenant: str, upload_id: str) -> Upload:
    """The upload; one whose time is up is ended first.

    Raises:
        NotFound: there is no such upload, or it is another tenant's; the answers do not differ.
    """
    try:
        upload = services.store.get_upload(upload_id)
    except NotFound:
        upload = None
    if upload is None or upload.tenant != tenant:
        raise NotFound(f"no upload {upload_id!r}", param="upload_id")
    return _expire(services, upload)


def cancel_upload(services: Services, tenant: str, upload_id: str) -> Upload:
    """End it, for good. Cancelling again changes nothing.

    Raises:
        IllegalTransition: it has ended otherwise.
    """
    upload = own_upload(services, tenant, upload_id)
    now = services.clock.now()
    cancelled = services.store.update_upload(upload.id, lambda upload: upload.cancelled(now))
    remove_parts(services, cancelled.id)
    return cancelled


def remove_parts(services: Services, upload_id: str) -> None:
    """Delete the parts of an upload that has ended.

    A part on its way will be refused, and then removed by whoever receives it.
    """
    services.storage.delete(layout.upload(upload_id))


def remove_leftovers(services: Services) -> None:
    """Delete the parts of all uploads that are overdue, of those that ended while a part was on its
    way or a process died, and of those that the store has lost."""
    for upload_id in services.storage.names(layout.UPLOADS):
        try:
            # A record is there before its first part, so a folder without one is nobody's.
            upload = _expire(services, services.store.get_upload(upload_id))
        except NotFound:
            remove_parts(services, upload_id)
            continue
        if upload.status != "pending":
            remove_parts(services, upload_id)


def _expire(services: Services, upload: Upload) -> Upload:
    now = services.clock.now()
    if not upload.overdue(now):
        return upload
    expired = services.store.update_upload(upload.id, lambda upload: upload.expired(now))
    remove_parts(services, expired.id)
    return expired
