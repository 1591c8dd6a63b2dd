"""Uploads in every store."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pando_shared.clock import FakeClock
from pando_shared.errors import IllegalTransition, NotFound
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.keys import upload as upload_key
from pando_shared.store.stub import StubStore
from pando_shared.store.values import UPLOAD_RECORD_SECONDS
from pando_shared.uploads import Upload, UploadPart

UPLOAD = Upload("upload_1", "acme", "a.jsonl", "fine-tune", 100, 1.0)


def test_an_upload_is_kept_and_changed(store: Store) -> None:
    with pytest.raises(NotFound):
        store.get_upload(UPLOAD.id)
    with pytest.raises(NotFound):
        store.update_upload(UPLOAD.id, lambda upload: upload)
    store.put_upload(UPLOAD)
    assert store.get_upload(UPLOAD.id) == UPLOAD
    part = UploadPart("part_1", 10, 2.0)
    changed = store.update_upload(UPLOAD.id, lambda upload: upload.with_part(part, 2.0))
    assert store.get_upload(UPLOAD.id) == changed
    assert changed.parts == (part,)


def test_a_change_that_is_refused_changes_nothing(store: Store) -> None:
    store.put_upload(UPLOAD)
    with pytest.raises(IllegalTransition):
        store.update_upload(UPLOAD.id, lambda upload: upload.cancelled(UPLOAD.expires_at))
    assert store.get_upload(UPLOAD.id) == UPLOAD


def test_parts_that_arrive_together_are_all_kept(store: Store) -> None:
    store.put_upload(UPLOAD)
    together = threading.Barrier(8)

    def add(number: int) -> None:
        together.wait(timeout=10)
        part = UploadPart(f"part_{number}", 1, 2.0)
        store.update_upload(UPLOAD.id, lambda upload: upload.with_part(part, 2.0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    kept = {part.id for part in store.get_upload(UPLOAD.id).parts}
    assert kept == {f"part_{number}" for number in range(8)}


def test_the_stub_forgets_an_upload_a_day_after_its_last_change(clock: FakeClock) -> None:
    store = StubStore(clock)
    store.put_upload(UPLOAD)
    clock.advance(UPLOAD_RECORD_SECONDS - 1)
    store.update_upload(UPLOAD.id, lambda upload: upload)
    clock.advance(UPLOAD_RECORD_SECONDS - 1)
    assert store.get_upload(UPLOAD.id) == UPLOAD
    clock.advance(1)
    with pytest.raises(NotFound):
        store.get_upload(UPLOAD.id)


def test_redis_forgets_it_too(redis_url: str) -> None:
    store = RedisStore(redis_url)
    store.put_upload(UPLOAD)
    redis = store._redis
    redis.expire(upload_key(UPLOAD.id), 5)
    store.update_upload(UPLOAD.id, lambda upload: upload)
    assert UPLOAD_RECORD_SECONDS - 60 < redis.ttl(upload_key(UPLOAD.id)) <= UPLOAD_RECORD_SECONDS
    store.close()
