"""Making, changing and revoking API keys.

They are kept in storage first and in the store second, so that a lost Redis loses none.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pando_shared import layout
from pando_shared.api_keys import new_api_key
from pando_shared.codec import encode
from pando_shared.errors import InvalidRequest, NotFound
from pando_shared.records import ApiKey, KeyScope
from pando_shared.storage import Storage
from pando_shared.store import ApiKeyStore

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def create_key(
    store: ApiKeyStore,
    storage: Storage,
    tenant: str,
    name: str,
    now: float,
    *,
    scope: KeyScope = "user",
    expires_at: float | None = None,
) -> tuple[str, ApiKey]:
    """A new key's secret, and the record that has been kept.

    Raises:
        InvalidRequest: the tenant's name could not be part of a model's name.
    """
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest(
            f"a tenant's name has 1 to 64 letters, digits, '.', '_' or '-', got {tenant!r}",
            param="tenant",
        )
    secret, key = new_api_key(tenant, name, now, scope=scope, expires_at=expires_at)
    _keep(store, storage, key)
    return secret, key


def revoke_key(store: ApiKeyStore, storage: Storage, key_id: str, now: float) -> ApiKey:
    """The key as it is now, useless. One that was revoked before keeps its time.

    Raises:
        NotFound: there is no key of this id.
    """
    key = _key_of(store, key_id)
    revoked = replace(key, revoked_at=key.revoked_at or now)
    _keep(store, storage, revoked)
    return revoked


def rotate_key(
    store: ApiKeyStore, storage: Storage, key_id: str, now: float, grace_seconds: float
) -> tuple[str, ApiKey]:
    """A new key in place of one that works for `grace_seconds` more: its secret and record.

    It has the old one's tenant, name and scope, and from now on as long a life as the old one had.
    An old key that would expire sooner than after the grace still does.

    Raises:
        NotFound: there is no key of this id.
        InvalidRequest: the key is revoked or has expired, so that there is nothing to hand over.
    """
    old = _key_of(store, key_id)
    if not old.works_at(now):
        raise InvalidRequest(f"key {key_id} is revoked or has expired; create a new one instead")
    expires_at = None if old.expires_at is None else now + old.expires_at - old.created_at
    secret, new = create_key(
        store, storage, old.tenant, old.name, now, scope=old.scope, expires_at=expires_at
    )
    ends = now + grace_seconds
    _keep(store, storage, replace(old, expires_at=min(ends, old.expires_at or ends)))
    return secret, new


def _keep(store: ApiKeyStore, storage: Storage, key: ApiKey) -> None:
    storage.write(layout.api_key(key.id), encode(key))
    store.put_key(key)


def _key_of(store: ApiKeyStore, key_id: str) -> ApiKey:
    key = next((key for key in store.list_keys() if key.id == key_id), None)
    if key is None:
        raise NotFound(f"no such key: {key_id}")
    return key
