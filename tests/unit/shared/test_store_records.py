"""Files, models and keys in every store."""

from dataclasses import replace

import pytest

from pando_shared.api_keys import digest, new_api_key
from pando_shared.errors import NotFound
from pando_shared.records import FileRecord, ModelRecord
from pando_shared.store import Store


def test_a_file_belongs_to_its_tenant(store: Store) -> None:
    old = FileRecord("file-1", "acme", "a.jsonl", "fine-tune", 10, 1.0)
    new = FileRecord("file-2", "acme", "b.jsonl", "fine-tune", 20, 2.0)
    store.put_file(old)
    store.put_file(new)
    assert store.get_file("acme", "file-1") == old
    assert store.list_files("acme") == [new, old]
    assert store.list_files("other") == []
    with pytest.raises(NotFound):
        store.get_file("other", "file-1")
    with pytest.raises(NotFound):
        store.delete_file("other", "file-1")
    store.delete_file("acme", "file-1")
    assert store.list_files("acme") == [new]


def test_a_model_belongs_to_its_tenant(store: Store) -> None:
    model = ModelRecord("ft:tiny:acme::1", "acme", "tiny", "ftjob-1", "lora", "jobs/x/export", 1.0)
    store.put_model(model)
    assert store.get_model("acme", model.name) == model
    with pytest.raises(NotFound):
        store.get_model("other", model.name)
    with pytest.raises(NotFound):
        store.delete_model("other", model.name)
    assert store.list_models("acme") == [model]
    store.delete_model("acme", model.name)
    assert store.list_models("acme") == []


def test_a_revoked_key_is_listed_but_opens_nothing(store: Store) -> None:
    secret, key = new_api_key("acme", "first", 1.0)
    store.put_key(key)
    assert store.find_key(digest(secret)) == key
    assert store.find_key(digest("sk-pando-other")) is None
    revoked = replace(key, revoked_at=2.0)
    store.put_key(revoked)
    assert store.find_key(digest(secret)) is None
    assert store.list_keys() == [revoked]
