"""API keys, kept in storage first and in the store second, so that a lost Redis loses none."""

from __future__ import annotations

import re

from pando_cli.errors import UsageError
from pando_shared import layout
from pando_shared.api_keys import digest, new_api_key
from pando_shared.codec import encode
from pando_shared.records import ApiKey
from pando_shared.storage import Storage
from pando_shared.store import Store

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def keep_key(store: Store, storage: Storage, key: ApiKey) -> None:
    storage.write(layout.api_key(key.id), encode(key))
    store.put_key(key)


def create_key(
    store: Store, storage: Storage, tenant: str, name: str, now: float
) -> tuple[str, ApiKey]:
    """A new key's secret, and the record that has been kept.

    Raises:
        UsageError: the tenant's name could not be part of a model's name.
    """
    if not _TENANT.fullmatch(tenant):
        raise UsageError(
            f"a tenant's name has 1 to 64 letters, digits, '.', '_' or '-', got {tenant!r}",
            param="tenant",
        )
    secret, key = new_api_key(tenant, name, now)
    keep_key(store, storage, key)
    return secret, key


def usable(store: Store, secret: str) -> bool:
    """Whether the store knows this secret and nobody has revoked it."""
    return store.find_key(digest(secret)) is not None
