"""Keys are made, rotated and revoked, and old records still count."""

from __future__ import annotations

import json

import pytest

from pando_shared import layout
from pando_shared.api_keys import digest, new_api_key
from pando_shared.codec import decode, encode
from pando_shared.errors import InvalidRequest, NotFound
from pando_shared.key_keeping import create_key, revoke_key, rotate_key
from pando_shared.records import ApiKey
from pando_shared.storage import Storage
from pando_shared.store import Store

DAY = 86_400.0


def test_a_record_from_before_scopes_is_a_users_that_never_expires() -> None:
    _, key = new_api_key("acme", "old", 1.0)
    fields = json.loads(encode(key))
    del fields["scope"], fields["expires_at"]
    read = decode(ApiKey, json.dumps(fields))
    assert read.scope == "user"
    assert read.works_at(1e12)


def test_a_key_works_until_it_expires() -> None:
    _, key = new_api_key("acme", "", 0.0, expires_at=10.0)
    assert key.works_at(9.9)
    assert not key.works_at(10.0)


def test_a_rotated_key_has_a_grace_and_its_heir_the_same_rights(
    store: Store, storage: Storage
) -> None:
    secret, old = create_key(store, storage, "acme", "ci", 0.0, scope="read-only")
    fresh, new = rotate_key(store, storage, old.id, 100.0, DAY)
    assert (new.tenant, new.name, new.scope, new.expires_at) == ("acme", "ci", "read-only", None)
    assert store.find_key(digest(fresh)) == new
    kept = store.find_key(digest(secret))
    assert kept is not None
    assert kept.expires_at == 100.0 + DAY
    assert decode(ApiKey, storage.read(layout.api_key(old.id))) == kept


def test_a_grace_prolongs_no_life_and_the_heir_lives_as_long(
    store: Store, storage: Storage
) -> None:
    secret, old = create_key(store, storage, "acme", "", 0.0, expires_at=10 * DAY)
    _, new = rotate_key(store, storage, old.id, 9.5 * DAY, DAY)
    kept = store.find_key(digest(secret))
    assert kept is not None
    assert kept.expires_at == 10 * DAY
    assert new.expires_at == 19.5 * DAY


def test_what_no_longer_works_is_not_rotated(store: Store, storage: Storage) -> None:
    _, key = create_key(store, storage, "acme", "", 0.0)
    revoke_key(store, storage, key.id, 1.0)
    with pytest.raises(InvalidRequest, match="revoked or has expired"):
        rotate_key(store, storage, key.id, 2.0, DAY)
    with pytest.raises(NotFound, match="key-none"):
        rotate_key(store, storage, "key-none", 2.0, DAY)
