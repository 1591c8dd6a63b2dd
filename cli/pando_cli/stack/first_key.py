"""The key that `pando up` itself uses, and hands to later commands on this machine."""

from __future__ import annotations

from pando_cli import client_config
from pando_cli.client_config import ClientConfig
from pando_cli.home import Home
from pando_shared.api_keys import digest
from pando_shared.clock import Clock
from pando_shared.key_keeping import create_key
from pando_shared.recovery import recover
from pando_shared.storage import Storage
from pando_shared.store import ApiKeyStore, Store

FIRST_TENANT = "default"


def ensure_key(home: Home, url: str, store: Store, storage: Storage, clock: Clock) -> ClientConfig:
    """URL and a key that works, kept in the home: the one that is there, else a new one.

    A store that lacks what storage has is a Redis that lost its data; it is rebuilt first, so
    that keys users have do not stop working.
    """
    if not store.list_keys() and storage.names("keys"):
        recover(store, storage, clock.now())
    kept = client_config.load(home)
    if kept is not None and _usable(store, kept.api_key, clock.now()):
        secret = kept.api_key
    else:
        secret, _ = create_key(store, storage, FIRST_TENANT, "made by pando up", clock.now())
    config = ClientConfig(url, secret)
    client_config.save(home, config)
    return config


def _usable(store: ApiKeyStore, secret: str, now: float) -> bool:
    key = store.find_key(digest(secret))
    return key is not None and key.scope != "read-only" and key.works_at(now)
